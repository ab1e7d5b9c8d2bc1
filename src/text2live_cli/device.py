"""Where and how precisely to compute: devices, mixed precision, memory figures."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch

from .config import DEVICES
from .errors import Text2LiveError, UsageError
from .progress import Progress, Silent

Result = TypeVar("Result")
FP16_LOSS_SCALE = 1024.0
_MALLOC_TRIM_THRESHOLD, _MALLOC_MMAP_MAX = -1, -4


@dataclass(frozen=True)
class Precision:
    """How the generator and the encoder compute; weights of the generator are always fp32."""

    name: str
    generator: torch.dtype
    encoder: torch.dtype

    @property
    def loss_scale(self) -> float:
        """Factor on the loss that keeps fp16 gradients from vanishing."""
        return FP16_LOSS_SCALE if self.name == "fp16" else 1.0

    def autocast(self, device: torch.device) -> contextlib.AbstractContextManager[object]:
        """The context in which the generator runs."""
        if self.name == "fp32":
            return contextlib.nullcontext()
        return torch.autocast(device.type, self.generator)


FP32 = Precision("fp32", torch.float32, torch.float32)
BF16 = Precision("bf16", torch.bfloat16, torch.bfloat16)
FP16 = Precision("fp16", torch.float16, torch.float16)


def choose_device(
    name: str,
    needed: Callable[[torch.device], None] | None = None,
    progress: Progress | None = None,
) -> torch.device:
    """The device called `name`; "auto" takes CUDA, then MPS, then the CPU.

    MPS lacks many an operation: "auto" takes it where it does what is `needed` (`self_test`), and
    says so where it does not. Raises UsageError where the one asked for is absent.
    """
    if name not in DEVICES:
        raise UsageError(f"--device {name}: must be one of {', '.join(DEVICES)}")
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        name = next((kind for kind, is_here in available.items() if is_here), "cpu")
        if name == "mps" and needed and not _does(needed, torch.device(name), progress or Silent()):
            name = "cpu"
    if not available.get(name, True):
        have = [kind for kind, is_here in available.items() if is_here] + ["cpu"]
        raise UsageError(f"--device {name}: not available here; there is {', '.join(have)}")
    return torch.device(name)


def _does(needed: Callable[[torch.device], None], device: torch.device, progress: Progress) -> bool:
    try:
        needed(device)
    except Exception as error:  # noqa: BLE001  # whatever is missing: it is not to be used
        reason = next(iter(str(error).splitlines()), "")[:150] or type(error).__name__
        progress.message(f"on the CPU: {device.type} cannot do all that is needed ({reason})")
        return False
    return True


def choose_precision(
    name: str, device: torch.device, progress: Progress | None = None
) -> Precision:
    """The precision called `name`; "auto" is bf16 on a CUDA device that has it, else fp32.

    On a CPU bf16 takes several times as long, but for those with instructions for it, which are
    not many: it is for who asks for it.
    """
    if name == "auto":
        bf16 = device.type == "cuda" and torch.cuda.is_bf16_supported()
        name = "bf16" if bf16 else "fp32"
    if name == "fp16" and device.type == "cpu":
        raise UsageError("--precision fp16: the CPU has no fast fp16; take bf16 or fp32")
    if name == "bf16" and device.type == "cpu" and not cpu_has_bf16():
        (progress or Silent()).warning(
            "--precision bf16: this processor has no instructions for it (AVX512-BF16, AMX), so"
            " that it may take several times as long as fp32"
        )
    return {"fp32": FP32, "bf16": BF16, "fp16": FP16}[name]


def cpu_has_bf16() -> bool:
    """Whether PyTorch finds instructions for bf16 in this processor; True where it cannot tell."""
    queries = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    supports = [getattr(torch.cpu, name) for name in queries if hasattr(torch.cpu, name)]
    return any(supported() for supported in supports) or len(supports) < len(queries)


def prepare(device: torch.device) -> None:
    """Settings of the process; the same for all runs, so that none changes another's.

    TF32 is off: fp32 shall be what its name says, and what is fast runs in bf16.
    """
    if device.type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
    elif device.type == "cpu" and sys.platform == "linux":
        _keep_freed_memory()


def _keep_freed_memory() -> None:
    """Let glibc reuse big blocks: giving them back makes every step fault its pages in again."""
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(_MALLOC_MMAP_MAX, 0)
        libc.mallopt(_MALLOC_TRIM_THRESHOLD, 2**31 - 1)


@functools.lru_cache
def constant(values: tuple[float, ...], device: torch.device) -> torch.Tensor:
    """A small fixed vector on `device`, sent there once: sending makes a GPU wait."""
    return torch.tensor(values, device=device)


def upload(values: torch.Tensor, device: torch.device) -> torch.Tensor:
    """What was drawn on the CPU, of any shape, on `device`.

    At most 64 KiB, which a GPU takes without waiting.
    """
    return values.to(device, non_blocking=device.type == "cuda")


def vector(values: Sequence[float], like: torch.Tensor) -> torch.Tensor:
    """A small vector that changes from step to step, with the device and dtype of `like`.

    It is written on the device: sending it would make a GPU wait.
    """
    return torch.cat([like.new_full((1,), value) for value in values])


def wants_few_sizes(device: torch.device) -> bool:
    """Whether crops shall have few sizes, for which kernels are chosen and recorded once each."""
    return device.type == "cuda"


def tf32_is_on() -> bool:
    """Whether CUDA rounds fp32 operands of products to 10 bits of mantissa."""
    return torch.backends.cuda.matmul.allow_tf32 or torch.backends.cudnn.allow_tf32


def peak_memory_mib(device: torch.device) -> float | None:
    """The most memory used so far, MiB: of the GPU, or of the process; None where unknown."""
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device) / 2**20
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


IN_TRAINING = (
    "lower --size or --views, or use --precision bf16;"
    " a checkpoint that was written is kept (--resume needs the same settings)"
)
IN_FIT = "lower --size, or fit fewer frames: --frames A:B, --every N"
IN_DELIVERY = (
    "the training is done and kept, only its result could not be made: close other programs, and"
    " the same command with --resume makes it"
)


@contextlib.contextmanager
def explain_out_of_memory(advice: str = IN_TRAINING) -> Iterator[None]:
    """Say what to do when memory runs out."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise Text2LiveError(f"out of memory: {advice}") from error


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, of the device or of the machine."""
    text = str(error).lower()
    exhausted = isinstance(error, (MemoryError, torch.OutOfMemoryError))
    return exhausted or "can't allocate memory" in text or "out of memory" in text


def here_or_on_cpu(
    work: Callable[[torch.device], Result], device: torch.device, progress: Progress
) -> Result:
    """`work` on `device`, or, where its memory does not suffice, on the CPU."""
    try:
        return work(device)
    except RuntimeError as error:
        if device.type == "cpu" or not is_out_of_memory(error):
            raise
    # Not within the handler, whose traceback holds on to what fills the memory.
    progress.message(f"the memory of {device.type} does not suffice for the result: on the CPU")
    if device.type == "cuda":
        torch.cuda.empty_cache()
    return work(torch.device("cpu"))
