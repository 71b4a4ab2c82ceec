import pytest

from pipeline.provenance import processor
from pipeline.provenance.processor import Processor, from_cpuinfo, from_sysctl, is_same_processor

EPYC = """\
processor	: 0
vendor_id	: AuthenticAMD
cpu family	: 25
model		: 17
model name	: AMD EPYC
stepping	: 1
cache size	: 1024 KB
flags		: fpu sse4_2 fma avx f16c avx2 avx512f avx512dq avx512_bf16
power management:

processor	: 1
vendor_id	: AuthenticAMD
cpu family	: 25
model		: 17
model name	: AMD EPYC
stepping	: 1
cache size	: 1024 KB
flags		: fpu sse4_2 fma avx f16c avx2 avx512f avx512dq avx512_bf16
power management:
"""
CORE = """\
processor	: 0
vendor_id	: GenuineIntel
cpu family	: 6
model		: 158
model name	: Intel(R) Core(TM) i7-8700K CPU @ 3.70GHz
stepping	: 10
flags		: fpu sse4_2 fma avx f16c avx2
vmx flags	: vnmi ept
"""
ARM = """\
processor	: 0
BogoMIPS	: 108.00
Features	: fp asimd aes sha1 crc32
CPU implementer	: 0x41
CPU architecture: 8
CPU variant	: 0x1
CPU part	: 0xd05
CPU revision	: 0

processor	: 1
BogoMIPS	: 108.00
Features	: fp asimd aes sha1 crc32
CPU implementer	: 0x41
CPU architecture: 8
CPU variant	: 0x4
CPU part	: 0xd0b
CPU revision	: 1
"""
MAC = """\
hw.ncpu: 8
hw.cpufamily: 458787763
hw.l1dcachesize: 65536
hw.perflevel0.l1dcachesize: 131072
hw.optional.AdvSIMD: 1
machdep.cpu.brand_string: Apple M1
"""


def test_an_epyc_is_told_by_family_model_and_stepping():
    assert from_cpuinfo(EPYC, "x86_64", "x86_64", "32 KiB").tags == {
        "cpu.type": "AMD EPYC",
        "cpu.architecture": "x86_64",
        "cpu.model": "vendor_id AuthenticAMD, cpu family 25, model 17, stepping 1",
        "cpu.vectors": "avx2 fma avx512f",
        "cpu.l1d": "32 KiB",
    }


def test_a_core_has_no_avx_512():
    core = from_cpuinfo(CORE, "x86_64", "x86_64")

    assert core.name == "Intel(R) Core(TM) i7-8700K CPU @ 3.70GHz"
    assert core.model == "vendor_id GenuineIntel, cpu family 6, model 158, stepping 10"
    assert core.vectors == "avx2 fma"


def test_an_arm_has_the_models_of_all_its_cores():
    arm = from_cpuinfo(ARM, "aarch64", "aarch64")

    assert (arm.name, arm.vectors) == ("aarch64", "asimd")
    assert arm.model == (
        "CPU implementer 0x41, CPU variant 0x1, CPU part 0xd05, CPU revision 0; "
        "CPU implementer 0x41, CPU variant 0x4, CPU part 0xd0b, CPU revision 1"
    )


def test_a_mac_is_told_by_its_brand():
    mac = from_sysctl(MAC, "arm", "arm64")

    assert mac == Processor("arm", "arm64", "Apple M1, family 458787763", "asimd", "128 KiB")


def test_what_the_system_does_not_say_is_no_tag():
    nothing = {"cpu.type": "x86_64", "cpu.architecture": "x86_64"}
    assert from_cpuinfo("", "x86_64", "x86_64").tags == nothing
    assert from_sysctl("", "x86_64", "x86_64").tags == nothing


def test_the_first_level_data_cache_is_found_among_the_caches(tmp_path):
    for core, size in (("cpu0", "32K\n"), ("cpu1", "48K\n"), ("cpu2", "32K\n")):
        for index, (level, kind, bytes_) in enumerate(
            [("1\n", "Data\n", size), ("1\n", "Instruction\n", "64K\n"), ("2\n", "Unified\n", "1M")]
        ):
            folder = tmp_path / core / "cache" / f"index{index}"
            folder.mkdir(parents=True)
            for name, content in (("level", level), ("type", kind), ("size", bytes_)):
                (folder / name).write_text(content)

    assert processor.l1d_below(tmp_path) == "32 KiB; 48 KiB"
    assert processor.l1d_below(tmp_path / "nothing") == ""


KNOWN = from_cpuinfo(EPYC, "", "x86_64", "32 KiB").tags


@pytest.mark.parametrize(
    ("recorded", "expected"),
    [
        (KNOWN, True),
        # What an earlier version recorded.
        ({"cpu.type": "AMD EPYC"}, True),
        ({"cpu.type": "AMD EPYC 7763"}, False),
        (KNOWN | {"cpu.model": "vendor_id AuthenticAMD, cpu family 25, model 1"}, False),
        (KNOWN | {"cpu.vectors": "avx2 fma"}, False),
        (KNOWN | {"cpu.l1d": "48 KiB"}, False),
        (KNOWN | {"cpu.count": "96"}, True),
        ({}, None),
        ({"cpu.count": "2"}, None),
    ],
)
def test_another_processor_is_one_that_is_known_to_differ(recorded, expected):
    assert is_same_processor(recorded, KNOWN) is expected
    assert is_same_processor(KNOWN, recorded) is expected


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (from_cpuinfo(EPYC, "", "x86_64"), None),
        (from_cpuinfo(CORE, "", "x86_64"), None),
        (from_cpuinfo(ARM, "", "aarch64"), "this processor is aarch64, not x86-64"),
        (from_sysctl(MAC, "arm", "arm64"), "this processor is arm64, not x86-64"),
        (from_cpuinfo(CORE.replace(" fma", ""), "", "x86_64"), "this processor has no FMA"),
        (
            from_cpuinfo(CORE.replace(" fma avx f16c avx2", ""), "", "x86_64"),
            "this processor has no AVX2 and no FMA",
        ),
        (
            from_cpuinfo("", "x86_64", "x86_64"),
            "the system does not say whether this processor has AVX2 and FMA",
        ),
    ],
)
def test_equal_bits_are_promised_on_x86_64_with_avx2_and_fma(given, told):
    assert processor.outside_promise(given) == told


def test_this_processor_has_a_name():
    present = processor.present_processor()
    assert present.name
    assert present.architecture
