#!/usr/bin/env python3
"""Assembles libtorch from PyPI's torch wheel in the user's cache folder and links it as `.libtorch`.

Only what a CPU build needs is unpacked: `libtorch_cpu.so`, `libc10.so`, OpenMP, two small CUDA
libraries that `libtorch_cpu.so` names, and the headers. With an NVIDIA driver on the machine
(or `--cuda`) the CUDA libraries go to `<prefix>/cuda`, from where the worker loads them at run time:
they must not lie in `<prefix>/lib`, or torch-sys would link them.
A second checkout finds the folder and downloads nothing.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

TORCH = "2.11.0"
CUDA_MAJOR = "13.0"
CPU_LIBRARIES = ("libtorch_cpu.so", "libc10.so", "libgomp")
CPU_WHEELS = (f"nvidia-cuda-runtime=={CUDA_MAJOR}.*", f"nvidia-cuda-cupti=={CUDA_MAJOR}.*")
CPU_WHEEL_LIBRARIES = ("libcudart.so", "libcupti.so")
# Bump when the layout of the prefix changes, so that caches of older checkouts are not mistaken for ours.
LAYOUT = 1


def cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "anymodel" / f"libtorch-{TORCH}-{LAYOUT}"


def download(requirements: list[str], into: Path) -> list[Path]:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    subprocess.run([*command, "--dest", str(into), *requirements], check=True)
    return sorted(into.glob("*.whl"))


def write_member(wheel: zipfile.ZipFile, name: str, target: Path) -> None:
    if name.endswith("/"):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with wheel.open(name) as source, open(target, "wb") as sink:
        shutil.copyfileobj(source, sink, 1 << 20)


def unpack_cpu(wheels: list[Path], prefix: Path) -> None:
    for path in wheels:
        with zipfile.ZipFile(path) as wheel:
            for name in wheel.namelist():
                base = os.path.basename(name)
                if name.startswith("torch/include/"):
                    write_member(wheel, name, prefix / name.removeprefix("torch/"))
                elif name.startswith("torch/lib/") and base.startswith(CPU_LIBRARIES):
                    write_member(wheel, name, prefix / "lib" / base)
                elif name.startswith("nvidia/") and base.startswith(CPU_WHEEL_LIBRARIES):
                    write_member(wheel, name, prefix / "lib" / base)
    # Linking "torch" means linking libtorch_cpu, and nothing of CUDA.
    (prefix / "lib" / "libtorch.so").write_text("INPUT ( -ltorch_cpu )\n")


def unpack_cuda(wheels: list[Path], prefix: Path) -> None:
    """Every shared library that `libtorch_cuda.so` needs, side by side in `<prefix>/cuda`."""
    for path in wheels:
        with zipfile.ZipFile(path) as wheel:
            for name in wheel.namelist():
                base = os.path.basename(name)
                wanted = name.startswith("nvidia/") and ".so" in base
                wanted |= name.startswith("torch/lib/") and base in ("libtorch_cuda.so", "libc10_cuda.so", "libtorch_nvshmem.so")
                if wanted:
                    write_member(wheel, name, prefix / "cuda" / base)


def requirements_of(wheel_path: Path) -> list[str]:
    with zipfile.ZipFile(wheel_path) as wheel:
        metadata = next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
        lines = wheel.read(metadata).decode().splitlines()
    return [line.removeprefix("Requires-Dist: ") for line in lines if line.startswith("Requires-Dist: ")]


def download_cuda(torch_wheel: Path, into: Path) -> list[Path]:
    """The NVIDIA wheels that this torch names, directly or through the `cuda-toolkit` meta package."""
    needed = [line for line in requirements_of(torch_wheel) if line.startswith(("nvidia", "cuda-toolkit"))]
    direct = [line.split(";")[0].strip() for line in needed if line.startswith("nvidia")]
    for toolkit in (line.split(";")[0].strip() for line in needed if line.startswith("cuda-toolkit")):
        extras = toolkit[toolkit.index("[") + 1 : toolkit.index("]")].split(",")
        (meta,) = download([toolkit.split("[")[0] + toolkit.split("]")[1]], into / "toolkit")
        for line in requirements_of(meta):
            requirement, _, marker = line.partition(";")
            if any(f'extra == "{extra}"' in marker or f"extra == '{extra}'" in marker for extra in extras):
                direct.append(requirement.strip())
    return download(direct, into / "wheels")


def publish(staging: Path, prefix: Path) -> None:
    """The rename is atomic: an interrupted run leaves no half-filled prefix behind."""
    if prefix.exists():
        shutil.rmtree(prefix)
    prefix.parent.mkdir(parents=True, exist_ok=True)
    staging.rename(prefix)


def link(prefix: Path) -> None:
    checkout_link = Path(__file__).resolve().parent.parent / ".libtorch"
    if checkout_link.is_symlink() and Path(os.readlink(checkout_link)) == prefix:
        return
    if checkout_link.is_symlink() or checkout_link.exists():
        checkout_link.unlink()
    checkout_link.symlink_to(prefix)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    has_driver = Path("/proc/driver/nvidia/version").exists()
    parser.add_argument("--cuda", action="store_true", default=has_driver, help="also fetch the CUDA libraries (3 GB)")
    wants_cuda = parser.parse_args().cuda

    prefix = cache_folder()
    complete = (prefix / "complete").exists() and (not wants_cuda or (prefix / "cuda" / "libtorch_cuda.so").exists())
    if not complete:
        prefix.parent.mkdir(parents=True, exist_ok=True)
        print(f"fetching libtorch {TORCH} into {prefix} (once per user)", flush=True)
        with tempfile.TemporaryDirectory(dir=prefix.parent) as folder:
            staging = Path(folder) / "prefix"
            wheels = download([f"torch=={TORCH}", *CPU_WHEELS], Path(folder) / "cpu")
            unpack_cpu(wheels, staging)
            if wants_cuda:
                torch_wheel = next(path for path in wheels if path.name.startswith("torch-"))
                unpack_cuda([torch_wheel, *download_cuda(torch_wheel, Path(folder) / "cuda")], staging)
            (staging / "complete").write_text(TORCH + "\n")
            publish(staging, prefix)
    link(prefix)


if __name__ == "__main__":
    main()
