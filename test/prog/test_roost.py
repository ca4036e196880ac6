"""roost from outside, on a daemon of its own."""
import json
import pathlib
import re
import subprocess

import nbd
import pytest

from daemon import BLKD, MIB, ROOST, Daemon, image, needs

TOP = pathlib.Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def d(tmp_path):
    with Daemon(tmp_path, state=True) as daemon:
        yield daemon


@pytest.fixture
def golden(d):
    """An image 'a', imported from qcow2 into a store."""
    (d.dir / "images").mkdir()
    image(d.dir / "src.raw")
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2",
                    str(d.dir / "src.raw"), str(d.dir / "a.qcow2")],
                   check=True)
    d.roost("store", "add", "main", d.dir / "images")
    d.roost("image", "import", d.dir / "a.qcow2", "--format", "qcow2")
    return d.dir / "images" / "a.raw"


def read(d, disk, n, at):
    h = nbd.NBD()
    h.connect_uri(d.uri(disk))
    try:
        return h.pread(n, at)
    finally:
        h.shutdown()


def test_import_makes_a_raw_image(d, golden):
    assert golden.read_bytes() == (d.dir / "src.raw").read_bytes()
    assert golden.stat().st_mode & 0o222 == 0
    assert "a " in d.roost("image", "ls")
    out = json.loads(d.roost("image", "show", "a", "--json"))
    assert out["address"] == str(golden) and out["store"] == "main"


def test_import_does_not_guess_the_format(d, golden):
    out = d.roost("image", "import", d.dir / "a.qcow2", "--name", "b", code=2)
    assert "never guessed" in out
    assert not (d.dir / "images" / "b.raw").exists()


def test_import_fails_cleanly(d, golden):
    d.roost("image", "import", d.dir / "a.qcow2", "--format", "qcow2", code=5)
    d.roost("image", "import", d.dir / "src.raw", "--format", "qcow2",
            "--name", "b", code=1)
    d.roost("image", "import", d.dir / "none", "--format", "raw", code=1)
    d.roost("image", "import", d.dir / "src.raw", "--format", "raw",
            "--name", "../b", code=2)
    assert [p.name for p in (d.dir / "images").iterdir()] == ["a.raw"]


def test_the_life_of_a_disk(d, golden):
    d.roost("disk", "create", "vm1", "--image", "a", "--size", "8M")
    assert (d.dir / "overlays" / "vm1.qcow2").exists()
    disk = d.disk("vm1")
    assert disk["size"] == 8 * MIB and disk["state"] == "serving"
    assert read(d, "vm1", 512, 0) == golden.read_bytes()[:512]
    d.roost("disk", "grow", "vm1", "16M")
    assert d.disk("vm1")["size"] == 16 * MIB
    assert "vm1" in d.roost("disk", "ls")
    d.roost("image", "rm", "a", code=5)
    d.roost("disk", "rm", "vm1")
    assert not (d.dir / "overlays" / "vm1.qcow2").exists()
    d.roost("image", "rm", "a")
    assert not golden.exists()


def test_disks_survive_a_restart(tmp_path):
    raw = image(tmp_path / "a.raw")
    with Daemon(tmp_path, state=True) as d:
        d.roost("image", "add", "a", raw)
        d.roost("disk", "create", "vm1", "--image", "a")
        h = nbd.NBD()
        h.connect_uri(d.uri("vm1"))
        h.pwrite(b"x" * 512, 0)
        h.flush()
        h.shutdown()
    with Daemon(tmp_path, state=True) as d:
        assert read(d, "vm1", 512, 0) == b"x" * 512
        d.roost("disk", "rm", "vm1", "--keep")
        assert (tmp_path / "overlays" / "vm1.qcow2").exists()
        d.roost("image", "rm", "a")
        assert raw.exists()  # it was added, not imported


def test_what_fails_says_why(d, golden):
    d.roost("disk", "create", "x", "--image", "none", code=4)
    d.roost("disk", "create", "x", "--file", "/none", "--ro", code=4)
    d.roost("disk", "create", "x", code=2)
    d.roost("disk", "create", "x", "--image", "a", "--ro", "--size", "8M",
            code=1)
    d.roost("disk", "create", "x", "--image", "a", "--size", "1M", code=1)
    d.roost("disk", "rm", "x", code=4)
    d.roost("disk", "grow", "x", "8M", code=4)
    d.roost("disk", "attach", "x", code=4)
    d.roost("store", "rm", "main", code=5)
    d.roost("store", "add", "main", d.dir, code=5)
    d.roost("store", "add", "m2", d.dir / "none", code=1)
    d.roost("boot", "mark-done", "x", code=4)
    assert d.ask(op="disk-ls")["disks"] == []


def test_usage(d):
    assert "did you mean 'disk'" in d.roost("dsk", code=2)
    assert "did you mean 'create'" in d.roost("disk", "creat", code=2)
    assert "did you mean 'image'" in d.roost("disk", "create", "x", "--imag",
                                             code=2)
    d.roost("disk", "create", code=2)
    d.roost("disk", "ls", "x", code=2)
    d.roost("disk", "rm", "x", "--force=1", code=2)
    d.roost(code=2)
    assert "Exit codes" in d.roost("--help")
    assert "--vhost-user" in d.roost("disk", "create", "--help")


def test_no_daemon_is_exit_code_3(tmp_path):
    d = Daemon(tmp_path)
    d.stop()
    for args in (["status"], ["disk", "ls"], ["top"], ["run", "name"]):
        assert "no daemon" in d.roost(*args, code=3)


def test_attach_lines_work_in_qemu(d, golden):
    d.roost("disk", "create", "vm1", "--image", "a", "--vhost-user",
            d.dir / "v.sock")
    out = d.roost("disk", "attach", "vm1")
    assert "vhost-user-blk-pci" in out and "<disk type='vhostuser'" in out
    blockdev = next(line for line in out.splitlines()
                    if line.startswith("-blockdev ")).split()[1]
    p = subprocess.run(["qemu-storage-daemon", "--blockdev", blockdev,
                        "--chardev", "stdio,id=m", "--monitor", "m"],
                       input='{"execute":"qmp_capabilities"}'
                       '{"execute":"query-named-block-nodes"}'
                       '{"execute":"quit"}', text=True, capture_output=True)
    assert p.returncode == 0 and '"vm1"' in p.stdout, p.stderr


def test_json_is_json(d, golden):
    for args in (["store", "ls"], ["image", "ls"], ["disk", "ls"],
                 ["boot", "ls"], ["status"], ["metrics"],
                 ["top", "--count", "1"]):
        json.loads(d.roost(*args, "--json"))


def test_metrics_are_prometheus_text(d, golden):
    d.roost("disk", "create", "vm1", "--image", "a", "--cache", "on")
    read(d, "vm1", 4096, 0)
    seen = {}
    for line in d.roost("metrics").splitlines():
        if line.startswith("#"):
            assert line.split()[1] in ("HELP", "TYPE")
            continue
        name, value = line.rsplit(" ", 1)
        seen[name] = float(value)
    assert seen['roost_disk_reads_total{disk="vm1"}'] == 1
    assert seen['roost_image_reads_total{image="a.raw"}'] == 1
    assert seen['roost_image_read_misses_total{image="a.raw"}'] == 1


def test_boot_show_and_drop(d, golden):
    d.roost("disk", "create", "vm1", "--image", "a", "--cache", "on")
    d.roost("boot", "show", "a", code=4)
    h = nbd.NBD()
    h.connect_uri(d.uri("vm1"))
    for i in range(200):
        h.pread(4096, i * 16384)
    d.roost("boot", "mark-done", "vm1")
    d.wait_for("boot segment written: 200 blocks")
    h.shutdown()
    assert "a.raw" in d.roost("boot", "ls")
    assert json.loads(d.roost("boot", "show", "a", "--json"))
    assert d.roost("boot", "show", golden)
    d.roost("boot", "show", "a", "--svg", d.dir / "a.svg")
    assert (d.dir / "a.svg").read_text().startswith("<")
    d.roost("boot", "drop", "a")
    assert not list((d.dir / "images").glob("*boot*"))
    d.roost("boot", "drop", "a", code=4)


QEMU = needs("qemu-system-x86_64")


@pytest.mark.skipif(QEMU, reason=str(QEMU))
@pytest.mark.parametrize("door", [[], ["--vhost-user"]])
def test_run_boots_a_vm_and_sums_up(tmp_path, door):
    """A boot sector that reads a few more sectors, and ends the VM."""
    raw = tmp_path / "a.raw"
    sector = bytearray(boot_sector())
    raw.write_bytes(bytes(sector) + bytes(4 * MIB - 512))
    d = Daemon(tmp_path)
    d.stop()
    out = d.roost("run", raw, *door, "--memory", "64M", "--cpus", "1", "--",
                  "-device", "isa-debug-exit", code=1, timeout=60)
    assert "the VM ran" in out and "of the image in" in out
    assert not list(tmp_path.glob("*.qcow2"))


def boot_sector():
    """Read 32 sectors from the disk, then leave by isa-debug-exit."""
    code = bytes([
        0xfa, 0x31, 0xc0, 0x8e, 0xd8, 0x8e, 0xc0,  # cli; ds = es = 0
        0xbb, 0x00, 0x80,                          # mov bx, 0x8000
        0xb8, 0x20, 0x02,                          # mov ax, 0x0220: read 32
        0xb9, 0x02, 0x00,                          # mov cx, 2
        0xb6, 0x00,                                # mov dh, 0
        0xcd, 0x13,                                # int 0x13
        0xb0, 0x00, 0xba, 0x01, 0x05, 0xee,        # out 0x501, 0: exit 1
        0xf4])                                     # hlt
    return code + bytes(510 - len(code)) + b"\x55\xaa"


def test_run_prints_what_it_would_run(d, golden):
    out = d.roost("run", "a", "--dry-run", "--kernel", "/vmlinuz", "--",
                  "-name", "x")
    assert "qemu-system-x86_64" in out and "-kernel /vmlinuz" in out
    assert out.strip().endswith("-name x")
    d.roost("run", "none", code=4)


def test_completion_knows_verbs_and_names(d, golden):
    d.roost("disk", "create", "vm1", "--image", "a")

    def complete(*words):
        return d.roost("__complete", *words).split()

    assert "disk" in complete() and "run" in complete()
    assert "attach" in complete("disk")
    assert "vm1" in complete("disk", "rm")
    assert "--image" in complete("disk", "create", "x")
    assert complete("disk", "create", "x", "--image") == ["a"]
    assert complete("image", "import") == ["@file"]
    script = TOP / "data" / "completion" / "roost"
    p = subprocess.run(
        ["bash", "-c", f"PATH={pathlib.Path(ROOST).parent}:$PATH; "
         f". {script}; COMP_WORDS=(roost disk r); COMP_CWORD=2; _roost; "
         "echo ${COMPREPLY[@]}"], text=True, capture_output=True)
    assert p.stdout.split() == ["rm"], p.stderr


def test_the_manual_has_every_option_and_verb(d):
    """What --help lists is in the man page, and in the other's table."""
    man = (TOP / "data" / "man" / "roost-blkd.8").read_text()
    man = man.replace("\\-", "-")
    out = subprocess.run([BLKD, "--help"], text=True, capture_output=True)
    options = re.findall(r"^  (--[a-z-]+)", out.stdout, re.M)
    assert len(options) > 15
    assert [o for o in options if o not in man] == []
    man = (TOP / "data" / "man" / "roost.1").read_text().replace("\\-", "-")
    verbs = re.findall(r"^  (\w[\w-]*(?: [\w-]+)?)  ", d.roost("--help"), re.M)
    assert len(verbs) > 20
    assert [v for v in verbs if v not in man] == []


def test_install(tmp_path):
    build = pathlib.Path(ROOST).resolve().parent.parent.parent
    if not (build / "build.ninja").exists():
        pytest.skip("not in a build directory")
    p = subprocess.run(["meson", "install", "-C", str(build), "--no-rebuild",
                        "--destdir", str(tmp_path)], text=True,
                       capture_output=True)
    assert p.returncode == 0, p.stdout + p.stderr
    found = {f.name for f in tmp_path.rglob("*")}
    assert {"roost", "roost-blkd", "roost.1", "roost-blkd.8", "blkd.conf.5",
            "roost-blkd.service", "roost-blkd.socket", "blkd.conf",
            "roost.conf"} <= found
    conf = next(tmp_path.rglob("blkd.conf"))
    assert "[daemon]" in conf.read_text()
    unit = next(tmp_path.rglob("roost-blkd.service")).read_text()
    assert "@" not in unit.replace("@system-service", "").replace(
        "@io-event", "").replace("@privileged", "").replace("@resources", "")
