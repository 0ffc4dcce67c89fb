"""PyTorch on the CPU, beside Tessera: carries out on request what one line of JSON on the standard input describes, on weights and
inputs that lie in safetensors files, and answers each line with one line of JSON. Started with the number of threads.

    {"do": "open", "id": "3", "kind": "forward", "mode": "eager", "weights": F, "inputs": F, "output": F, "config": {...}}
        makes the task ready, writes what it computes (f32, little-endian) to the output, answers {"ok": true}
    {"do": "time", "id": "3", "calls": 5}    answers {"seconds": S}, the mean of so many calls
    {"do": "close", "id": "3"}

A task that fails answers {"error": "why"} and ends nothing. Modes: eager (f32), autocast (bf16 where autocast says so), compiled and
compiled autocast (the same with torch.compile), bf16 (weights and activations), int8 (dynamic quantisation of the linear layers).
"""
import copy
import ctypes
import functools
import json
import math
import os
import platform
import re
import shutil
import struct
import sys
import time
import warnings

try:
    import torch
    import torch.nn.functional as F
    from torch import nn
except ImportError as e:
    print(json.dumps({"error": str(e)}), flush=True)
    sys.exit(3)

TYPES = {"F32": torch.float32, "I32": torch.int32, "U8": torch.uint8, "I64": torch.int64}


def read(file):
    """The tensors of a safetensors file by their names."""
    with open(file, "rb") as source:
        data = bytearray(source.read())
    length = struct.unpack("<Q", data[:8])[0]
    tensors = {}
    for name, entry in json.loads(data[8:8 + length]).items():
        if name != "__metadata__":
            begin, end = entry["data_offsets"]
            flat = torch.frombuffer(data, dtype=TYPES[entry["dtype"]], offset=8 + length + begin,
                                    count=math.prod(entry["shape"]))
            tensors[name] = flat.reshape(entry["shape"]).clone()
    return tensors


class Block(nn.Module):
    """Pre-norm block of VideoMAE; the keys have no bias."""

    def __init__(self, weights, prefix, heads, eps):
        super().__init__()
        self.heads = heads
        self.frozen = False
        self.norm1 = norm(weights, prefix + "norm1", eps)
        q, v = weights[prefix + "attn.q_bias"], weights[prefix + "attn.v_bias"]
        self.qkv = linear(weights[prefix + "attn.qkv.weight"], None)
        # Trained like ours: the bias of the keys is no parameter.
        self.q_bias, self.v_bias = nn.Parameter(q), nn.Parameter(v)
        self.proj = linear(weights[prefix + "attn.proj.weight"], weights[prefix + "attn.proj.bias"])
        self.norm2 = norm(weights, prefix + "norm2", eps)
        self.fc1 = linear(weights[prefix + "mlp.fc1.weight"], weights[prefix + "mlp.fc1.bias"])
        self.fc2 = linear(weights[prefix + "mlp.fc2.weight"], weights[prefix + "mlp.fc2.bias"])

    def freeze(self):
        """For inference: one bias for queries, keys and values, made once."""
        bias = torch.cat([self.q_bias, torch.zeros_like(self.q_bias), self.v_bias]).detach()
        self.qkv = linear(self.qkv.weight.detach(), bias)
        self.frozen = True
        return self

    def project(self, x):
        if self.frozen:
            return self.qkv(x)
        bias = torch.cat([self.q_bias, torch.zeros_like(self.q_bias), self.v_bias])
        return F.linear(x, self.qkv.weight, bias)

    def mix(self, qkv):
        b, n, wide = qkv.shape
        q, k, v = qkv.view(b, n, 3, self.heads, wide // 3 // self.heads).permute(2, 0, 3, 1, 4)
        return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, n, wide // 3)

    def forward(self, x):
        x = x + self.proj(self.mix(self.project(self.norm1(x))))
        return x + self.fc2(F.gelu(self.fc1(self.norm2(x))))


def linear(weight, bias):
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
    layer.weight = nn.Parameter(weight)
    if bias is not None:
        layer.bias = nn.Parameter(bias)
    return layer


def norm(weights, name, eps):
    layer = nn.LayerNorm(weights[name + ".weight"].shape[0], eps=eps)
    layer.weight, layer.bias = nn.Parameter(weights[name + ".weight"]), nn.Parameter(weights[name + ".bias"])
    return layer


class Student(nn.Module):
    """VideoMAE's encoder with a normed mean feature and, in training, a head."""

    def __init__(self, weights, config):
        super().__init__()
        self.config = config
        width, patch = config["width"], config["patch"]
        # Columns in the order of the pixels in memory, (dt, dy, dx, c), so that cutting a patch out copies whole rows.
        embed = weights["encoder.patch_embed.proj.weight"].permute(0, 2, 3, 4, 1).reshape(width, -1).contiguous()
        self.embed = linear(embed, weights["encoder.patch_embed.proj.bias"])
        self.blocks = nn.ModuleList(
            Block(weights, f"encoder.blocks.{i}.", config["heads"], config["eps"]) for i in range(config["depth"]))
        self.norm = norm(weights, "encoder.norm", config["eps"])
        self.fc_norm = norm(weights, "fc_norm", config["eps"])
        self.head = linear(weights["head.weight"], weights["head.bias"]) if "head.weight" in weights else None
        self.plane = (config["side"] // patch) ** 2
        self.slots = config["frames"] // config["tubelet"]
        self.register_buffer("positions", sine_table(self.slots * self.plane, width))
        self.register_buffer("mean", torch.tensor(config["mean"]))
        self.register_buffer("std", torch.tensor(config["std"]))

    def freeze(self):
        for block in self.blocks:
            block.freeze()
        return self

    def features(self, clips, visible):
        """[P * B, D] of clips u8 [B, T, H, W, C], seen through visible [P * B, tokens] or whole where that is None."""
        kept = cut(clips, visible, self.config)
        positions = self.positions if visible is None else self.positions[visible]
        values = (kept.float() * self.config["scale"] - self.mean) / self.std
        x = self.embed(values.flatten(2).to(self.positions.dtype)) + positions
        for block in self.blocks:
            x = block(x)
        return self.fc_norm(self.norm(x).mean(1))

    def forward(self, clips, visible):
        features = self.features(clips, visible)
        return features if self.head is None else self.head(features)


def cut(clips, visible, config):
    """Patches u8 [P * B, tokens, dt, dy, dx, C]; each in the order of the pixels in memory, so that whole rows are copied."""
    b, t, h, w, c = clips.shape
    p, dt = config["patch"], config["tubelet"]
    patches = clips.view(b, t // dt, dt, h // p, p, w // p, p, c).permute(0, 1, 3, 5, 2, 4, 6, 7)
    if visible is None:
        return patches.reshape(b, -1, dt, p, p, c)
    plane = (h // p) * (w // p)
    cell = visible % plane
    row = torch.arange(visible.shape[0])[:, None] % b
    return patches[row, visible // plane, cell // (w // p), cell % (w // p)]


def sine_table(tokens, width):
    column = torch.arange(width, dtype=torch.float64)
    angle = torch.arange(tokens, dtype=torch.float64)[:, None] / 10000 ** (2 * (column // 2) / width)
    return torch.where(column % 2 == 0, angle.sin(), angle.cos()).float()


def quantized(model):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.ao.quantization.quantize_dynamic(model, {nn.Linear}, dtype=torch.qint8)


def cast(model):
    """Everything in bf16 but the constants that normalise the pixels."""
    model = copy.deepcopy(model)
    for parameter in model.parameters():
        parameter.data = parameter.data.bfloat16()
    if hasattr(model, "positions"):
        model.positions = model.positions.bfloat16()
    return model


class Single(nn.Module):
    """One linear layer, with GELU after it or without."""

    def __init__(self, layer, gelu):
        super().__init__()
        self.layer, self.gelu = layer, gelu

    def forward(self, x):
        y = self.layer(x)
        return F.gelu(y) if self.gelu else y


class Mixing(nn.Module):
    def __init__(self, block):
        super().__init__()
        self.block = block

    def forward(self, x):
        return self.block.mix(x)


def kernel(kind, weights, inputs, config):
    """The module that a kernel's or a layer's task names."""
    if kind == "matmul":
        return Single(linear(inputs["w"], None), False)
    block = Block(weights, "encoder.blocks.0.", config["heads"], config["eps"]).freeze()
    return {
        "layer_norm": lambda: block.norm1,
        "linear": lambda: Single(block.qkv, False),
        "linear_gelu": lambda: Single(block.fc1, True),
        "attention": lambda: Mixing(block),
        "block": lambda: block,
    }[kind]()


def gradients(y, of, dy):
    """Gradients of what was computed before, again and again."""
    return lambda: torch.autograd.grad(y, of, dy, retain_graph=True)


def leaf(x):
    return x.detach().clone().requires_grad_(True)


def layer_norm_gradients(weights, inputs, config):
    layer, x = norm(weights, "encoder.blocks.0.norm1", config["eps"]), leaf(inputs["x"])
    return gradients(layer(x), [x, layer.weight, layer.bias], inputs["dy"])


def linear_input_gradient(weights, inputs, config):
    x = leaf(inputs["x"])
    return gradients(F.linear(x, weights["encoder.blocks.0.attn.qkv.weight"]), [x], inputs["dy"])


def linear_weight_gradient(weights, inputs, config):
    weight = leaf(weights["encoder.blocks.0.attn.qkv.weight"])
    bias = leaf(weight[:, 0])
    return gradients(F.linear(inputs["x"], weight, bias), [weight, bias], inputs["dy"])


def gelu_gradient(weights, inputs, config):
    x = leaf(inputs["x"])
    return gradients(F.gelu(x), [x], inputs["dy"])


def attention_gradients(weights, inputs, config):
    """Of queries, keys and values on their own: that they lie side by side in our result is no work of attention."""
    x, heads = inputs["x"], config["heads"]
    b, n, wide = x.shape
    parts = [leaf(part) for part in x.view(b, n, 3, heads, wide // 3 // heads).permute(2, 0, 3, 1, 4)]
    y = F.scaled_dot_product_attention(*parts)
    dy = inputs["dy"].view(b, n, heads, -1).transpose(1, 2).contiguous()
    return gradients(y, parts, dy)


def side_by_side(dq, dk, dv):
    """[B, N, 3, heads, headDim] of three [B, heads, N, headDim]."""
    return torch.stack([dq, dk, dv]).permute(1, 3, 0, 2, 4)


def softmax(weights, inputs, config):
    return lambda: torch.softmax(inputs["x"], -1)


def patches(weights, inputs, config):
    mean, std, clip = torch.tensor(config["mean"]), torch.tensor(config["std"]), inputs["clip"]
    visible = inputs["visible"].long() if "visible" in inputs else None
    return lambda: (cut(clip, visible, config).float() * config["scale"] - mean) / std


def cross_entropy(weights, inputs, config):
    x, labels = leaf(inputs["x"]), inputs["labels"].long()
    return lambda: torch.autograd.grad(F.cross_entropy(x, labels), [x])


def feature_distillation(weights, inputs, config):
    x, teachers = [leaf(one) for one in inputs["x"]], [one.clone() for one in inputs["teachers"]]

    def call():
        loss = sum(w * F.mse_loss(one, to) for w, one, to in zip(config["teachers"], x, teachers))
        return torch.autograd.grad(loss, x)

    return call


def logit_distillation(weights, inputs, config):
    x, labels, teachers = leaf(inputs["x"]), inputs["labels"].long(), inputs["teachers"]
    shares, t, beta = torch.tensor(config["teachers"]), config["temperature"], config["labels"]

    def call():
        ensemble = torch.tensordot(shares, teachers, 1)
        apart = F.kl_div(F.log_softmax(x / t, -1), F.softmax(ensemble / t, -1), reduction="batchmean")
        return torch.autograd.grad((1 - beta) * t * t * apart + beta * F.cross_entropy(x, labels), [x])

    return call


def reconstruction(weights, inputs, config):
    x, clip, eps = leaf(inputs["x"]), inputs["clip"], config["patch_eps"]
    visible = inputs["visible"].long() if "visible" in inputs else None

    def call():
        pixels = (cut(clip, visible, config).float() * config["scale"]).flatten(2, 4)
        target = (pixels - pixels.mean(2, keepdim=True)) / (pixels.std(2, keepdim=True) + eps)
        return torch.autograd.grad(F.mse_loss(x, target.flatten(2)), [x])

    return call


def adamw(weights, inputs, config):
    parameters = [leaf(part) for part in inputs["x"]]
    for parameter, gradient in zip(parameters, inputs["gradient"]):
        parameter.grad = gradient.clone()
    optimiser = torch.optim.AdamW(parameters, lr=config["rate"], betas=(0.9, 0.999), eps=1e-8,
                                  weight_decay=config["decay"], fused=True)
    for parameter in parameters:
        optimiser.state[parameter] = {"step": torch.tensor(float(config["earlier_steps"])),
                                      "exp_avg": torch.zeros_like(parameter),
                                      "exp_avg_sq": torch.full_like(parameter, config["earlier_squares"])}

    def step():
        optimiser.step()
        return parameters

    return step


# Kernels that are no modules: a function of weights, inputs and config that makes one without arguments.
FUNCTIONS = {f.__name__: f for f in (
    softmax, patches, layer_norm_gradients, linear_input_gradient, linear_weight_gradient, gelu_gradient, attention_gradients,
    cross_entropy, feature_distillation, logit_distillation, reconstruction, adamw)}


KEPT = []  # what torch forgets with its Python object


def vision():
    """Imports torchvision and gives its version; an ImportError where there is none."""
    while True:
        try:
            import torchvision
            break
        except RuntimeError as e:
            # Its compiled ops do not fit this torch. The model needs none of them, but importing it names them.
            missing = re.search(r"operator torchvision::(\w+) does not exist", str(e))
            if missing is None or len(KEPT) > 20:
                raise
            for name in [name for name in sys.modules if name.startswith("torchvision")]:
                del sys.modules[name]
            KEPT.append(torch.library.Library("torchvision", "FRAGMENT"))
            KEPT[-1].define(missing.group(1) + "(Tensor x) -> Tensor")
    return torchvision.__version__


def swin(weights, config):
    from torchvision.models.video.swin_transformer import swin3d_t
    model = swin3d_t(num_classes=weights["head.weight"].shape[0])
    model.load_state_dict(weights)

    class Scores(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model.eval()
            self.register_buffer("mean", torch.tensor(config["mean"]))
            self.register_buffer("std", torch.tensor(config["std"]))

        def forward(self, clips):
            values = (clips.float() * config["scale"] - self.mean) / self.std
            return self.model(values.to(next(self.model.parameters()).dtype).permute(0, 4, 1, 2, 3))

    return Scores()


def inference(kind, mode, weights, inputs, config):
    """A function without arguments that computes the task's result."""
    if kind == "copy":
        return functools.partial(torch.empty_like(inputs["x"]).copy_, inputs["x"])
    if kind == "forward":
        model = Student(weights, config).freeze()
        visible = inputs.get("visible")
        arguments = (inputs["clip"], None if visible is None else visible.long())
    elif kind == "swin":
        model, arguments = swin(weights, config), (inputs["clip"],)
    else:
        model, arguments = kernel(kind, weights, inputs, config), (inputs["x"],)
    model = model.eval().requires_grad_(False)
    if mode == "int8":
        model = quantized(model)
    elif mode == "bf16":
        model = cast(model)
        arguments = tuple(a.bfloat16() if a is not None and a.dtype == torch.float32 else a for a in arguments)
    elif mode.startswith("compiled"):
        model = torch.compile(model, dynamic=False)

    def call():
        with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=mode.endswith("autocast")):
            return model(*arguments)

    return call


def training(mode, weights, inputs, config):
    """A function that takes a step and gives its loss."""
    model = Student(weights, config).train()
    matrices = [p for name, p in model.named_parameters() if p.ndim > 1]
    vectors = [p for name, p in model.named_parameters() if p.ndim == 1]
    optimiser = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": config["decay"]}, {"params": vectors, "weight_decay": 0.0}],
        lr=config["rate"], betas=(0.9, 0.999), eps=1e-8, fused=True)
    run = torch.compile(model, dynamic=False) if mode.startswith("compiled") else model
    visible = inputs.get("visible")
    visible = None if visible is None else visible.long()
    labels = inputs["labels"].long()

    def step():
        optimiser.zero_grad(set_to_none=True)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=mode.endswith("autocast")):
            scores = run(inputs["clip"], visible)
        loss = F.cross_entropy(scores.float(), labels)
        loss.backward()
        optimiser.step()
        return loss.detach()

    return step


def function(kind, mode, weights, inputs, config):
    """A function without arguments for a kernel that is no module."""
    if mode == "bf16":
        weights, inputs = ({name: t.bfloat16() if t.dtype == torch.float32 else t for name, t in tensors.items()}
                           for tensors in (weights, inputs))
    return FUNCTIONS[kind](weights, inputs, config)


def first_result(kind, call, inputs, config):
    """What the first call computes, in our order; of training and AdamW, what some first steps do."""
    if kind == "train":
        return torch.stack([call() for _ in range(config["steps"])])
    if kind == "adamw":
        for _ in range(config["steps"]):
            changed = call()
        return (torch.stack(changed) - inputs["x"]) / config["rate"]
    result = call()
    if kind == "patches":
        return result.permute(0, 1, 5, 2, 3, 4)
    if kind == "attention_gradients":
        return side_by_side(*result)
    if kind == "feature_distillation":
        return torch.stack(result)
    return torch.cat([part.flatten() for part in result]) if isinstance(result, tuple) else result


def open_task(request):
    weights, inputs = read(request["weights"]), read(request["inputs"])
    kind, mode, config = request["kind"], request["mode"], request["config"]
    if kind == "train":
        call = training(mode, weights, inputs, config)
    else:
        call = (function if kind in FUNCTIONS else inference)(kind, mode, weights, inputs, config)
    values = first_result(kind, call, inputs, config).detach().float().contiguous()
    with open(request["output"], "wb") as target:
        target.write((ctypes.c_char * (4 * values.numel())).from_address(values.data_ptr()))
    return call


def cpp_compiler():
    """The name of the C++ compiler that torch.compile calls on the CPU, empty where there is none."""
    return os.path.basename(shutil.which(os.environ.get("CXX", "g++")) or "")


def serve(threads):
    torch.set_num_threads(threads)
    try:
        version = vision()
    except (ImportError, RuntimeError) as e:
        version = str(e).splitlines()[0]
    tasks = {}
    print(json.dumps({"torch": torch.__version__, "python": platform.python_version(), "threads": torch.get_num_threads(),
                      "torchvision": version, "compiler": cpp_compiler()}), flush=True)
    for line in sys.stdin:
        try:
            request = json.loads(line)
            what, name = request["do"], request["id"]
            if what == "open":
                tasks[name] = open_task(request)
                answer = {"ok": True}
            elif what == "time":
                call = tasks[name]
                begin = time.perf_counter()
                for _ in range(request["calls"]):
                    call()
                answer = {"seconds": (time.perf_counter() - begin) / request["calls"]}
            else:
                tasks.pop(name, None)
                answer = {"ok": True}
        except Exception as e:  # a task that does not run must not end the others
            answer = {"error": (str(e).strip().splitlines() or [type(e).__name__])[0]}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    serve(int(sys.argv[1]))
