"""Which CPU numba compiles for: the host, or the one that NUMBA_CPU_NAME names."""

import re

import llvmlite.binding as llvm
import numba

from jitprop.kernels.compiler.numba_private import host

# With NUMBA_CPU_NAME alone, numba would still use every feature of the host. Here a name means that
# CPU and no more. This has to be set before the first use of numba's target, which is below.
if numba.config.CPU_NAME is not None and numba.config.CPU_FEATURES is None:
    numba.config.CPU_FEATURES = ""


def detect() -> str:
    """What numba compiles for: avx512, avx2 (with FMA), neon or plain, as the compiler shows it."""
    triple, name, features = host()
    machine = llvm.Target.from_triple(triple).create_target_machine(
        cpu=name, features=features, opt=2
    )
    module = llvm.parse_assembly(
        f"""target triple = "{triple}"
        declare <16 x float> @llvm.fma.v16f32(<16 x float>, <16 x float>, <16 x float>)
        define void @f(ptr %p, ptr %q) {{
            %x = load <16 x float>, ptr %p
            %y = load <16 x float>, ptr %q
            %z = call <16 x float> @llvm.fma.v16f32(<16 x float> %x, <16 x float> %y,
                                                    <16 x float> %y)
            store <16 x float> %z, ptr %p
            ret void
        }}
        define <8 x i32> @g(<8 x i32> %x) {{
            %y = add <8 x i32> %x, %x
            ret <8 x i32> %y
        }}"""
    )
    assembly = machine.emit_assembly(module)
    if "fmla" in assembly:
        return "neon"
    if "vfmadd" in assembly and re.search("vpaddd.*ymm", assembly):
        return "avx512" if "zmm" in assembly else "avx2"
    return "plain"


INSTRUCTIONS = "plain" if numba.config.DISABLE_JIT else detect()
