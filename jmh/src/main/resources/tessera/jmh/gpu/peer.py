"""Times masked ViT inference and training steps in PyTorch, as a peer of Tessera's benchmark.

The model is the same: u8 clips [B, T, H, W, 3] on the device, random tube masks, only the visible patches are gathered,
normalised and embedded, sine positions, pre-norm blocks with fused attention (F.scaled_dot_product_attention) and exact GELU,
final norm, mean, norm. A training step adds a linear head, cross-entropy, backward and fused AdamW.

Prints one line per measurement, `WHAT TYPE MODE BATCH RHO P MICROSECONDS`, and notes as `# text`. Exit code 3: no torch.
"""
import argparse
import math
import statistics
import sys
import time

try:
    import torch
    import torch.nn.functional as F
    from torch import nn
except ImportError:
    sys.exit(3)

TUBELET = 2
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x):
        b, n, d = x.shape
        q, k, v = self.qkv(x).view(b, n, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v)
        return self.proj(y.transpose(1, 2).reshape(b, n, d))


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.fc2(F.gelu(self.fc1(self.norm2(x))))


def sine_table(tokens, width):
    position = torch.arange(tokens, dtype=torch.float64)[:, None]
    frequency = 10000 ** (-2 * (torch.arange(width) // 2).double() / width)
    angle = position * frequency
    angle[:, 0::2] = angle[:, 0::2].sin()
    angle[:, 1::2] = angle[:, 1::2].cos()
    return angle.float()


class Student(nn.Module):
    def __init__(self, options):
        super().__init__()
        self.patch = options.patch
        self.slots = options.frames // TUBELET
        self.plane = (options.side // options.patch) ** 2
        length = 3 * TUBELET * options.patch * options.patch
        self.embed = nn.Linear(length, options.width)
        self.blocks = nn.ModuleList(Block(options.width, options.heads) for _ in range(options.depth))
        self.norm = nn.LayerNorm(options.width, eps=1e-6)
        self.fc_norm = nn.LayerNorm(options.width, eps=1e-6)
        self.head = nn.Linear(options.width, options.classes)
        self.register_buffer("positions", sine_table(self.slots * self.plane, options.width))
        self.register_buffer("mean", torch.tensor(MEAN).view(3, 1, 1, 1) * 255)
        self.register_buffer("inverse_std", 1 / (torch.tensor(STD).view(3, 1, 1, 1) * 255))

    def mask(self, batch, rho, device):
        """Indices of visible tokens, ascending, [batch, visible]; the same cells in every slot."""
        visible = self.plane - math.floor(rho * self.plane + 1e-9)
        cells = torch.rand(batch, self.plane, device=device).argsort(1)[:, :visible].sort(1).values
        slots = torch.arange(self.slots, device=device) * self.plane
        return (slots[None, :, None] + cells[:, None, :]).flatten(1)

    def features(self, clips, visible):
        b, t, h, w, c = clips.shape
        p = self.patch
        patches = clips.view(b, t // TUBELET, TUBELET, h // p, p, w // p, p, c)
        patches = patches.permute(0, 1, 3, 5, 7, 2, 4, 6)  # b, t, y, x, c, dt, dy, dx
        if visible is None:
            kept = patches.reshape(b, -1, c, TUBELET, p, p)
            positions = self.positions
        else:
            slot = visible // self.plane
            cell = visible % self.plane
            row = torch.arange(b, device=clips.device)[:, None]
            kept = patches[row, slot, cell // (w // p), cell % (w // p)]
            positions = self.positions[visible]
        values = (kept.float() - self.mean) * self.inverse_std
        x = self.embed(values.flatten(2)) + positions
        for block in self.blocks:
            x = block(x)
        return self.fc_norm(self.norm(x).mean(1))

    def forward(self, clips, visible):
        return self.head(self.features(clips, visible))


class Bench:
    def __init__(self, options):
        self.options = options
        self.device = torch.device(options.device)
        self.gpu = self.device.type == "cuda"
        self.end = time.monotonic() + options.seconds
        torch.manual_seed(0)
        torch.backends.cuda.matmul.allow_tf32 = False
        self.clips = torch.randint(
            0, 256, (options.batch, options.frames, options.side, options.side, 3), dtype=torch.uint8, device=self.device)
        self.labels = torch.arange(options.batch, device=self.device) % options.classes

    def late(self):
        return time.monotonic() > self.end

    def once(self, call, count):
        """Mean microseconds of `count` calls."""
        if self.gpu:
            begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            begin.record()
            for _ in range(count):
                call()
            end.record()
            end.synchronize()
            return begin.elapsed_time(end) * 1000 / count
        start = time.perf_counter()
        for _ in range(count):
            call()
        return (time.perf_counter() - start) * 1e6 / count

    def time(self, call):
        for _ in range(1 if self.options.once else 3):
            call()
        if self.gpu:
            torch.cuda.synchronize()
        estimate = self.once(call, 1)
        if self.options.once:
            return estimate
        count = max(1, min(100, int(2000 / estimate)))
        samples = []
        start = time.monotonic()
        while len(samples) < 5 or (len(samples) < 50 and time.monotonic() - start < 0.4):
            samples.append(self.once(call, count))
        return statistics.median(samples)

    def cast(self, kind):
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=kind == "bf16")

    def forward(self, model, features, kind, batch, rho, ensemble):
        clips = self.clips[:batch]

        def call():
            with torch.no_grad(), self.cast(kind):
                if rho == 0:
                    y = features(clips, None)
                    return y if ensemble == 1 else torch.cat([y] * ensemble)
                both = clips if ensemble == 1 else clips.repeat(ensemble, 1, 1, 1, 1)
                return features(both, model.mask(ensemble * batch, rho, self.device))

        return self.time(call)

    def train(self, model, forward, kind, batch, rho):
        clips, labels = self.clips[:batch], self.labels[:batch]
        optimiser = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.05, fused=self.gpu)

        def call():
            optimiser.zero_grad(set_to_none=True)
            with self.cast(kind):
                logits = forward(clips, model.mask(batch, rho, self.device))
            F.cross_entropy(logits.float(), labels).backward()
            optimiser.step()

        return self.time(call)

    def show(self, what, kind, mode, batch, rho, ensemble, run):
        if self.late():
            raise TimeoutError
        try:
            print(what, kind, mode, batch, rho, ensemble, f"{run():.2f}", flush=True)
        except Exception as e:  # one shape that does not run must not end the others
            print(f"# {what} {kind} {mode} batch {batch} rho {rho} P {ensemble}: {str(e).splitlines()[0]}", flush=True)

    def run(self):
        name = torch.cuda.get_device_name(self.device) if self.gpu else "cpu"
        print(f"# torch {torch.__version__} on {name}", flush=True)
        model = Student(self.options).to(self.device)
        large = self.options.batch
        small = [batch for batch in (1, 8) if batch < large]
        wide = lambda kind, mode, features, batch, ratios: [
            self.show("forward", kind, mode, batch, rho, p,
                      lambda: self.forward(model, features, kind, batch, rho, p))
            for rho in ratios for p in (1, 2)]
        step = lambda kind, mode, forward, batch, rho: self.show(
            "train", kind, mode, batch, rho, 1, lambda: self.train(model, forward, kind, batch, rho))
        # What the goals name comes first; compiling takes long, so of that only what the goals name.
        wide("bf16", "eager", model.features, large, [0.75])
        wide("bf16", "eager", model.features, 1, [0.75])
        step("bf16", "eager", model, large, 0.75)
        if self.gpu:
            features = torch.compile(model.features, dynamic=False)
            for batch in (large, 1):
                self.show("forward", "bf16", "compiled", batch, 0.75, 1,
                          lambda: self.forward(model, features, "bf16", batch, 0.75, 1))
        for batch in [large] + small:
            wide("bf16", "eager", model.features, batch, [0.9, 0.5, 0.0] + ([0.75] if batch not in (large, 1) else []))
        for rho in (0.9, 0.5):
            step("bf16", "eager", model, large, rho)
        if self.gpu:
            forward = torch.compile(model, dynamic=False)
            step("bf16", "compiled", forward, large, 0.75)
        for batch in [large] + small:
            wide("f32", "eager", model.features, batch, [0.75, 0.9, 0.5, 0.0])
        step("f32", "eager", model, large, 0.75)


def main():
    parser = argparse.ArgumentParser()
    for name in ("frames", "side", "patch", "width", "depth", "heads", "classes", "batch"):
        parser.add_argument("--" + name, type=int, required=True)
    parser.add_argument("--device", required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--once", action="store_true", help="one sample each, to see that it runs")
    parser.add_argument("--full", action="store_true")
    try:
        Bench(parser.parse_args()).run()
    except TimeoutError:
        print("# out of time: the rest was not measured", flush=True)


if __name__ == "__main__":
    main()
