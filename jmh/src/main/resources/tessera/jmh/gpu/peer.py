"""Times masked ViT inference, training steps and attention in PyTorch, as a peer of Tessera's benchmark.

The model is the same, with the same weights: u8 clips [B, T, H, W, 3], random tube masks drawn anew each time, only the visible
patches are gathered and embedded (in inference the pixels' mean and deviation are folded into the embedding), sine positions,
pre-norm blocks with fused attention (F.scaled_dot_product_attention) and exact GELU, final norm, mean over tokens, norm, linear
head, softmax, mean over the P masks of a clip. A training step is mask, forward, cross-entropy, backward and fused AdamW. What is
compiled or captured holds all of it, the masks' drawing to the mean included (of a compiled step, all but AdamW).

Prints "ready", then answers each line of the standard input by one line: "us MICROSECONDS", "prepared SECONDS", "checked" or
"failed TEXT"; lines "# TEXT" are notes.

    prepare KIND TYPE MODE BATCH RHO P     compiles, captures and runs it
    time forward TYPE MODE BATCH RHO P     from clips on the device to probabilities on the device
    time call TYPE MODE BATCH RHO P        from clips in pinned host memory to probabilities in host memory
    time train TYPE MODE BATCH RHO 1       a step on clips on the device
    check KIND TYPE MODE BATCH RHO P FILE  runs it from the given weights once and writes what it gave and for which masks
    sdpa DIRECTION bf16 BATCH TOKENS HEADS DIM BACKEND    attention alone, on packed q, k and v; auto, flash, cudnn, efficient

MODE is "plain" (f32), "autocast" (f32 weights, bf16 autocast) or "cast" (bf16 weights, statistics of norms f32 inside), and then
"-graph" for a CUDA graph captured by hand, "-graph-cudnn" for one with cuDNN's attention, "-default", "-overhead" and "-autotune"
for torch.compile (mode="reduce-overhead" and "max-autotune"), "-default-graph" for a capture of what is compiled by default. Exit
code 3: no torch, or one that does not see the device.
"""
import argparse
import contextlib
import json
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
TYPES = {"F32": torch.float32, "U8": torch.uint8, "I32": torch.int32}


def read(path):
    """The tensors of a safetensors file."""
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        data = bytearray(file.read())
    tensors = {}
    for name, entry in header.items():
        if name != "__metadata__":
            begin, end = entry["data_offsets"]
            count = (end - begin) // TYPES[entry["dtype"]].itemsize
            flat = torch.frombuffer(data, dtype=TYPES[entry["dtype"]], count=count, offset=begin)
            tensors[name] = flat.view(entry["shape"])
    return tensors


def write(path, tensors):
    """Writes tensors as a safetensors file."""
    header, parts, at = {}, [], 0
    names = {dtype: name for name, dtype in TYPES.items()}
    for name, tensor in tensors.items():
        part = tensor.detach().cpu().contiguous().numpy().tobytes()
        header[name] = {"dtype": names[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [at, at + len(part)]}
        parts.append(part)
        at += len(part)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text + b"".join(parts))


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
        self.folded = False
        self.register_buffer("positions", sine_table(self.slots * self.plane, options.width))
        self.register_buffer("mean", torch.tensor(MEAN) * 255)
        self.register_buffer("inverse_std", 1 / (torch.tensor(STD) * 255))

    def take(self, given):
        """Copies weights of Tessera's names in place."""
        pixels = given["encoder.patch_embed.proj.weight"]  # [D, C, dt, dy, dx]
        own = {"embed.weight": pixels.permute(0, 2, 3, 4, 1).flatten(1), "embed.bias": given["encoder.patch_embed.proj.bias"]}
        for i in range(len(self.blocks)):
            block = f"encoder.blocks.{i}."
            zeros = torch.zeros_like(given[block + "attn.q_bias"])
            bias = (given[block + "attn.q_bias"], given.get(block + "attn.k_bias", zeros), given[block + "attn.v_bias"])
            own[f"blocks.{i}.attn.qkv.weight"] = given[block + "attn.qkv.weight"]
            own[f"blocks.{i}.attn.qkv.bias"] = torch.cat(bias)
            for kind in ("weight", "bias"):
                for ours, theirs in (("norm1", "norm1"), ("norm2", "norm2"), ("attn.proj", "attn.proj"), ("fc1", "mlp.fc1"),
                                     ("fc2", "mlp.fc2")):
                    own[f"blocks.{i}.{ours}.{kind}"] = given[f"{block}{theirs}.{kind}"]
        for kind in ("weight", "bias"):
            own["norm." + kind] = given["encoder.norm." + kind]
            own["fc_norm." + kind] = given["fc_norm." + kind]
            own["head." + kind] = given["head." + kind]
        with torch.no_grad():
            for name, parameter in self.named_parameters():
                parameter.copy_(own[name])

    def fold(self):
        """Folds the pixels' mean and deviation into the embedding."""
        with torch.no_grad():
            repeats = self.embed.in_features // 3
            self.embed.weight *= self.inverse_std.repeat(repeats)
            self.embed.bias -= self.embed.weight @ self.mean.repeat(repeats)
        self.folded = True

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
        dtype = self.embed.weight.dtype
        if not self.folded:
            kept = (kept.float() - self.mean) * self.inverse_std
        x = self.embed(kept.flatten(2).to(dtype)) + positions.to(dtype)
        for block in self.blocks:
            x = block(x)
        return self.head(self.fc_norm(self.norm(x).mean(1)))


class Inference(nn.Module):
    """From clips to probabilities [B, classes] and the masks that were drawn."""

    def __init__(self, student, rho, ensemble):
        super().__init__()
        self.student = student
        self.rho = rho
        self.ensemble = ensemble

    def forward(self, clips):
        b = clips.shape[0]
        visible = None if self.rho == 0 else self.student.mask(self.ensemble * b, self.rho, clips.device)
        probabilities = self.student(clips, visible).float().softmax(1)
        if visible is not None:
            probabilities = probabilities.view(self.ensemble, b, -1).mean(0)
        return probabilities, visible


class Loss(nn.Module):
    """From clips and labels to the cross-entropy and the masks that were drawn."""

    def __init__(self, student, rho):
        super().__init__()
        self.student = student
        self.rho = rho

    def forward(self, clips, labels):
        visible = self.student.mask(clips.shape[0], self.rho, clips.device)
        return F.cross_entropy(self.student(clips, visible).float(), labels), visible


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
        given = read(options.data)
        clips = given.pop("clips")
        self.pinned = clips.pin_memory() if self.gpu else clips
        self.clips = self.pinned.to(self.device)
        self.labels = torch.arange(clips.shape[0], device=self.device) % options.classes
        self.weights = {name: tensor.to(self.device) for name, tensor in given.items()}
        self.made = {}
        self.batches = {}

    def batch(self, count):
        """The first clips; told to CUDA graphs as memory that does not move, or each replay would copy them."""
        if count not in self.batches:
            clips = self.clips[:count]
            if self.gpu:
                torch._dynamo.mark_static_address(clips)
            self.batches[count] = clips
        return self.batches[count]

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
        start = time.monotonic()
        while True:
            for call in calls:
                call()
            self.synchronize()
            if self.options.once or time.monotonic() - start > 0.1:
                break
        estimate = self.once(calls, 0, len(calls))
        if self.options.once:
            return estimate
        count = max(1, min(100, int(2000 / estimate)))
        samples = []
        start = time.monotonic()
        while len(samples) < 5 or (len(samples) < 50 and time.monotonic() - start < 0.3):
            samples.append(self.once(calls, len(samples) * count, count))
        return statistics.median(samples)

    def synchronize(self):
        if self.gpu:
            torch.cuda.synchronize()

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

    def student(self, mode):
        student = Student(self.options).to(self.device)
        student.take(self.weights)
        return student

    def cast(self, mode):
        return torch.autocast(
            self.device.type, dtype=torch.bfloat16, enabled=mode.startswith("autocast"), cache_enabled="graph" not in mode)

    @staticmethod
    def compiled(module, how):
        if how.startswith("default"):
            return torch.compile(module, dynamic=False)
        if how == "overhead":
            return torch.compile(module, dynamic=False, mode="reduce-overhead")
        return torch.compile(module, dynamic=False, mode="max-autotune") if how == "autotune" else module

    @staticmethod
    def mark(how):
        if how in ("overhead", "autotune"):
            torch.compiler.cudagraph_mark_step_begin()

    def capture(self, run, backend="auto"):
        """A CUDA graph of a call without parameters; what it gives lies where the next replay writes."""
        if not self.gpu:
            raise ValueError("a CUDA graph needs a GPU")
        with self.backend(backend):
            stream = torch.cuda.Stream()
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                for _ in range(3):
                    run()
            torch.cuda.current_stream().wait_stream(stream)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                out = run()

        def replay():
            graph.replay()
            return out

        return replay

    def made_once(self, key, make):
        if key not in self.made:
            self.made[key] = make()
        return self.made[key]

    def infer(self, mode, batch, rho, ensemble):
        """A function from clips on the device, by default those of the benchmark, to probabilities and masks."""
        weights, _, how = mode.partition("-")

        def make():
            student = self.student(mode)
            student.fold()
            if weights == "cast":
                student.bfloat16()
                student.mean, student.inverse_std = student.mean.float(), student.inverse_std.float()
            return student.eval().requires_grad_(False)

        def pipeline():
            student = self.made_once(("student", weights), make)
            call = self.compiled(Inference(student, rho, ensemble), how)
            grad = torch.no_grad if how else torch.inference_mode

            def run(clips):
                self.mark(how)
                with grad(), self.cast(mode):
                    return call(clips)

            if "graph" not in how:
                return run
            clips = self.batch(batch).clone()
            replay = self.capture(lambda: run(clips), "cudnn" if how.endswith("cudnn") else "auto")

            def replayed(given):
                if given.data_ptr() != self.clips.data_ptr():
                    clips.copy_(given)
                return replay()

            return replayed

        return self.made_once(("forward", mode, batch, rho, ensemble), pipeline)

    def step(self, mode, batch, rho):
        """A training step, which gives loss and masks, and a function that sets the weights back."""
        weights, _, how = mode.partition("-")

        def make():
            student = self.student(mode)
            loss = self.compiled(Loss(student, rho), how)
            clips, labels = self.batch(batch), self.labels[:batch]
            graph = "graph" in how
            optimiser = torch.optim.AdamW(
                student.parameters(), lr=1e-4, weight_decay=0.05, fused=self.gpu, capturable=self.gpu and graph)

            def run():
                self.mark(how)
                optimiser.zero_grad(set_to_none=True)
                with self.cast(mode):
                    value, visible = loss(clips, labels)
                value.backward()
                optimiser.step()
                return value.detach(), visible

            return (self.capture(run) if graph else run), lambda: student.take(self.weights)

        return self.made_once(("train", mode, batch, rho), make)

    def function(self, kind, mode, batch, rho, ensemble):
        if kind == "train":
            return self.step(mode, batch, rho)[0]
        run = self.infer(mode, batch, rho, ensemble)
        clips = self.batch(batch)
        return lambda: run(clips)

    def prepare(self, *what):
        start = time.monotonic()
        run = self.function(*what)
        for _ in range(3):  # compiles, warms up, captures
            run()
        self.synchronize()
        return time.monotonic() - start

    def check(self, kind, mode, batch, rho, ensemble, path):
        if kind == "train":
            run, reset = self.step(mode, batch, rho)
            reset()
            value, visible = run()
        else:
            value, visible = self.function(kind, mode, batch, rho, ensemble)()
        result = {"value": value.float().reshape(-1)}
        if visible is not None:
            result["visible"] = visible.int()
        write(path, result)

    def timed(self, kind, mode, batch, rho, ensemble):
        if kind != "call":
            return self.time([self.function(kind, mode, batch, rho, ensemble)])
        run = self.infer(mode, batch, rho, ensemble)
        clips = self.pinned[:batch]
        return self.wall(lambda: run(clips.to(self.device, non_blocking=True))[0].cpu())

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
        from torch.nn.attention import SDPBackend, sdpa_kernel
        kinds = {"flash": SDPBackend.FLASH_ATTENTION, "cudnn": SDPBackend.CUDNN_ATTENTION,
                 "efficient": SDPBackend.EFFICIENT_ATTENTION}
        return sdpa_kernel(kinds[name]) if name in kinds else contextlib.nullcontext()

    # ----------------------------------------------------------------------------------------------------- requests

    def answer(self, words):
        what, kind = words[0], words[1]
        if what == "sdpa":
            return f"us {self.sdpa(kind, *map(int, words[3:7]), words[7]):.3f}"
        arguments = kind, words[3], int(words[4]), float(words[5]), int(words[6])
        if what == "prepare":
            return f"prepared {self.prepare(*arguments):.1f}"
        if what == "check":
            self.check(*arguments, words[7])
            return "checked"
        return f"us {self.timed(*arguments):.3f}"

    def serve(self):
        name = torch.cuda.get_device_name(self.device) if self.gpu else "cpu"
        cudnn = torch.backends.cudnn.version() if self.gpu else None
        print(f"# torch {torch.__version__}, cuDNN {cudnn}, on {name}", flush=True)
        print("ready", flush=True)
        for line in sys.stdin:
            try:
                print(self.answer(line.split()), flush=True)
            except Exception as e:  # one shape that does not run must not end the others
                print("failed " + (str(e).splitlines() or [type(e).__name__])[0][:300], flush=True)
                print(f"{line.strip()}: {type(e).__name__}: {str(e)[:2000]}", file=sys.stderr, flush=True)


def main():
    parser = argparse.ArgumentParser()
    for name in ("frames", "side", "patch", "width", "depth", "heads", "classes"):
        parser.add_argument("--" + name, type=int, required=True)
    parser.add_argument("--device", required=True)
    parser.add_argument("--data", required=True, help="safetensors: weights, and the clips as clips")
    parser.add_argument("--once", action="store_true", help="one sample each, to see that it runs")
    parser.add_argument("--full", action="store_true")
    Bench(parser.parse_args()).serve()


if __name__ == "__main__":
    main()
