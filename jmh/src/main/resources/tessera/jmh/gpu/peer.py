"""Times masked ViT inference, training steps and attention in PyTorch, as a peer of Tessera's benchmark.

The model is the same: u8 clips [B, T, H, W, 3], random tube masks drawn anew each time, only the visible patches are gathered,
normalised and embedded, sine positions, pre-norm blocks with fused attention (F.scaled_dot_product_attention) and exact GELU,
final norm, mean over tokens, norm, linear head, softmax, mean over the P masks of a clip. A training step is mask, forward,
cross-entropy, backward and fused AdamW.

Prints "ready", then answers each line of the standard input with "us MICROSECONDS" or "failed TEXT"; lines "# TEXT" are notes.

    forward TYPE MODE BATCH RHO P     from clips on the device to probabilities on the device
    call TYPE MODE BATCH RHO P        from clips in pinned host memory to probabilities in host memory
    train TYPE MODE BATCH RHO 1       a step on clips on the device
    sdpa DIRECTION bf16 BATCH TOKENS HEADS DIM BACKEND     attention alone, on packed q, k and v; auto, flash or cudnn

MODE is "plain" (f32), "autocast" (f32 weights, bf16 autocast) or "cast" (bf16 weights, statistics of norms f32 inside), and then
"-compiled" for torch.compile or "-graphs" for torch.compile with CUDA graphs (mode="reduce-overhead"). Exit code 3: no torch,
or one that does not see the device.
"""
import argparse
import copy
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
ROTATION_BYTES = 512e6


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
        self.embed = nn.Linear(length, options.width)  # columns in the order dt, dy, dx, c of the pixels in memory
        self.blocks = nn.ModuleList(Block(options.width, options.heads) for _ in range(options.depth))
        self.norm = nn.LayerNorm(options.width, eps=1e-6)
        self.fc_norm = nn.LayerNorm(options.width, eps=1e-6)
        self.head = nn.Linear(options.width, options.classes)
        self.register_buffer("positions", sine_table(self.slots * self.plane, options.width))
        self.register_buffer("mean", torch.tensor(MEAN) * 255)
        self.register_buffer("inverse_std", 1 / (torch.tensor(STD) * 255))

    def mask(self, batch, rho, device):
        """Indices of visible tokens, ascending, [batch, visible]; the same cells in every slot."""
        visible = self.plane - math.floor(rho * self.plane + 1e-9)
        cells = torch.rand(batch, self.plane, device=device).argsort(1)[:, :visible].sort(1).values
        slots = torch.arange(self.slots, device=device) * self.plane
        return (slots[None, :, None] + cells[:, None, :]).flatten(1)

    def forward(self, clips, visible):
        """Logits [P * B, classes] of clips u8 [B, T, H, W, 3], seen through visible [P * B, tokens] or whole where that is None."""
        b, t, h, w, c = clips.shape
        p = self.patch
        patches = clips.view(b, t // TUBELET, TUBELET, h // p, p, w // p, p, c)
        patches = patches.permute(0, 1, 3, 5, 2, 4, 6, 7)  # b, t, y, x, dt, dy, dx, c
        if visible is None:
            kept = patches.reshape(b, -1, TUBELET, p, p, c)
            positions = self.positions
        else:
            slot = visible // self.plane
            cell = visible % self.plane
            row = torch.arange(visible.shape[0], device=clips.device)[:, None] % b
            kept = patches[row, slot, cell // (w // p), cell % (w // p)]
            positions = self.positions[visible]
        values = (kept.float() - self.mean) * self.inverse_std
        dtype = self.embed.weight.dtype
        x = self.embed(values.flatten(2).to(dtype)) + positions.to(dtype)
        for block in self.blocks:
            x = block(x)
        return self.head(self.fc_norm(self.norm(x).mean(1)))


class Bench:
    def __init__(self, options):
        self.options = options
        self.device = torch.device(options.device)
        self.gpu = self.device.type == "cuda"
        if self.gpu and not torch.cuda.is_available():
            sys.exit(3)
        torch.manual_seed(0)
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
        self.pinned = torch.randint(
            0, 256, (options.batch, options.frames, options.side, options.side, 3), dtype=torch.uint8, pin_memory=self.gpu)
        self.clips = self.pinned.to(self.device)
        self.labels = torch.arange(options.batch, device=self.device) % options.classes
        self.plain = Student(options).to(self.device)
        self.models = {}

    # ------------------------------------------------------------------------------------------------------- timing

    def once(self, calls, first, count):
        """Mean microseconds of `count` calls."""
        if self.gpu:
            begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            begin.record()
            for i in range(count):
                calls[(first + i) % len(calls)]()
            end.record()
            end.synchronize()
            return begin.elapsed_time(end) * 1000 / count
        start = time.perf_counter()
        for i in range(count):
            calls[(first + i) % len(calls)]()
        return (time.perf_counter() - start) * 1e6 / count

    def time(self, calls):
        for _ in range(1 if self.options.once else 3):
            for call in calls:
                call()
        if self.gpu:
            torch.cuda.synchronize()
        estimate = self.once(calls, 0, len(calls))
        if self.options.once:
            return estimate
        count = max(1, min(100, int(2000 / estimate)))
        samples = []
        start = time.monotonic()
        while len(samples) < 5 or (len(samples) < 50 and time.monotonic() - start < 0.3):
            samples.append(self.once(calls, len(samples) * count, count))
        return statistics.median(samples)

    def wall(self, call):
        """Median microseconds of calls that end with their result in host memory."""
        samples = []
        start = time.monotonic()
        for _ in range(1 if self.options.once else 3):
            call()
        while len(samples) < (1 if self.options.once else 5) or (
                not self.options.once and len(samples) < 100 and time.monotonic() - start < 0.5):
            begin = time.perf_counter()
            call()
            samples.append((time.perf_counter() - begin) * 1e6)
        return statistics.median(samples)

    # ------------------------------------------------------------------------------------------------------- models

    def model(self, mode, train):
        """A model in this mode, made once; compiled when it is first called."""
        key = (mode, train)
        if key not in self.models:
            weights, _, how = mode.partition("-")
            model = copy.deepcopy(self.plain)
            if weights == "cast":
                for parameter in model.parameters():  # the pixels' mean and deviation stay f32
                    parameter.data = parameter.data.bfloat16()
            if how == "compiled":
                call = torch.compile(model, dynamic=False)
            elif how == "graphs":
                call = torch.compile(model, dynamic=False, mode="reduce-overhead")
            else:
                call = model
            self.models[key] = (model, call)
        return self.models[key]

    def cast(self, mode):
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=mode.startswith("autocast"))

    def infer(self, mode, batch, rho, ensemble):
        """A function from clips on the device to probabilities [B, classes] on the device."""
        model, call = self.model(mode, False)

        def run(clips):
            with torch.inference_mode(), self.cast(mode):
                visible = None if rho == 0 else model.mask(ensemble * batch, rho, self.device)
                probabilities = call(clips, visible).float().softmax(1)
                if rho == 0:
                    return probabilities
                return probabilities.view(ensemble, batch, -1).mean(0)

        return run

    def forward(self, mode, batch, rho, ensemble):
        run = self.infer(mode, batch, rho, ensemble)
        clips = self.clips[:batch]
        return self.time([lambda: run(clips)])

    def call(self, mode, batch, rho, ensemble):
        run = self.infer(mode, batch, rho, ensemble)
        clips = self.pinned[:batch]
        return self.wall(lambda: run(clips.to(self.device, non_blocking=True)).cpu())

    def train(self, mode, batch, rho):
        model, call = self.model(mode, True)
        clips, labels = self.clips[:batch], self.labels[:batch]
        optimiser = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.05, fused=self.gpu)

        def step():
            optimiser.zero_grad(set_to_none=True)
            with self.cast(mode):
                logits = call(clips, model.mask(batch, rho, self.device))
            F.cross_entropy(logits.float(), labels).backward()
            optimiser.step()

        return self.time([step])

    # ---------------------------------------------------------------------------------------------------- attention

    def sdpa(self, direction, batch, tokens, heads, dim, backend):
        backward = direction == "backward"
        size = 2 * batch * tokens * heads * dim
        sets = 2 if self.options.once else int(min(32, max(2, math.ceil(ROTATION_BYTES / ((8 if backward else 4) * size)))))
        calls = []
        with self.backend(backend):
            for _ in range(sets):
                packed = torch.randn(batch, tokens, 3, heads, dim, device=self.device, dtype=torch.bfloat16)
                q, k, v = (x.detach() for x in packed.permute(2, 0, 3, 1, 4))
                if backward:
                    leaves = tuple(x.requires_grad_() for x in (q, k, v))
                    out = F.scaled_dot_product_attention(*leaves)
                    dout = torch.randn(batch, tokens, heads, dim, device=self.device, dtype=torch.bfloat16).transpose(1, 2)
                    calls.append(lambda out=out, leaves=leaves, dout=dout: torch.autograd.grad(
                        out, leaves, dout, retain_graph=True))
                else:
                    calls.append(lambda q=q, k=k, v=v: F.scaled_dot_product_attention(q, k, v))
            if backward:
                return self.time(calls)
            with torch.no_grad():
                return self.time(calls)

    @staticmethod
    def backend(name):
        from contextlib import nullcontext

        from torch.nn.attention import SDPBackend, sdpa_kernel
        kinds = {"flash": SDPBackend.FLASH_ATTENTION, "cudnn": SDPBackend.CUDNN_ATTENTION}
        return sdpa_kernel(kinds[name]) if name in kinds else nullcontext()

    # ----------------------------------------------------------------------------------------------------- requests

    def answer(self, words):
        what = words[0]
        if what == "sdpa":
            return self.sdpa(words[1], *map(int, words[3:7]), words[7])
        mode, batch, rho, ensemble = words[2], int(words[3]), float(words[4]), int(words[5])
        if what == "train":
            return self.train(mode, batch, rho)
        return {"forward": self.forward, "call": self.call}[what](mode, batch, rho, ensemble)

    def serve(self):
        name = torch.cuda.get_device_name(self.device) if self.gpu else "cpu"
        cudnn = torch.backends.cudnn.version() if self.gpu else None
        print(f"# torch {torch.__version__}, cuDNN {cudnn}, on {name}", flush=True)
        print("ready", flush=True)
        for line in sys.stdin:
            try:
                print(f"us {self.answer(line.split()):.3f}", flush=True)
            except Exception as e:  # one shape that does not run must not end the others
                print("failed " + (str(e).splitlines() or [type(e).__name__])[0], flush=True)
            if self.gpu:
                torch.cuda.empty_cache()


def main():
    parser = argparse.ArgumentParser()
    for name in ("frames", "side", "patch", "width", "depth", "heads", "classes", "batch"):
        parser.add_argument("--" + name, type=int, required=True)
    parser.add_argument("--device", required=True)
    parser.add_argument("--once", action="store_true", help="one sample each, to see that it runs")
    parser.add_argument("--full", action="store_true")
    Bench(parser.parse_args()).serve()


if __name__ == "__main__":
    main()
