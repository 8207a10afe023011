"""Every block of the how-to pages runs as printed, in order, and prints what the page says."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.repository import ROOT

pytestmark = pytest.mark.slow

PAGES = [*sorted((ROOT / "docs" / "howto").glob("*.md")), ROOT / "docs" / "quickstart.md"]
BLOCK = re.compile(r"^```(sh|python|yaml|text|json)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"# ([\w./-]+\.(?:py|yaml))(?=[:\n])")


def run(kind: str, text: str, folder: Path) -> str:
    """Run a block in `folder` as a reader would; return what it prints, not what it logs."""
    command = ["bash", "-euo", "pipefail", "-c", text] if kind == "sh" else [sys.executable, "-"]
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "launchers")]),
        "OMP_NUM_THREADS": "1",
        "WANDB_MODE": "disabled",
    }
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        input="" if kind == "sh" else text,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr[-3000:]}"
    return done.stdout


def shape_of(text: str) -> list[str]:
    """The lines of `text` without numbers, rules and spacing, which machines may change."""
    lines = re.sub(r"[-+]?\d[\d.,]*|[^\x00-\x7f]", "#", text).splitlines()
    return [" ".join(line.split()) for line in lines if line.strip()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_blocks_run_and_print_what_the_page_says(page, tmp_path):
    printed = ""
    for kind, text in BLOCK.findall(page.read_text(encoding="utf-8")):
        named = FILE.match(text)
        if kind == "text":
            missing = set(shape_of(text)) - set(shape_of(printed)) - {"..."}
            assert not missing, f"{page.name} promises {missing}, and this appeared:\n{printed}"
        elif named:
            path = tmp_path / named.group(1)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        else:
            printed = run(kind, text, tmp_path)
            print(printed)  # pytest -s: for the page


def test_the_blocks_of_the_readme_run(tmp_path):
    """Its two commands are run by .ci/run; here the ones below them."""
    blocks = BLOCK.findall((ROOT / "README.md").read_text(encoding="utf-8"))
    (own_parts,) = [text for _, text in blocks if "my-texts.jsonl" in text]
    (own_method,) = [text for kind, text in blocks if kind == "python"]
    (tmp_path / "calib_sweep").symlink_to(ROOT / "calib_sweep")
    run("sh", "python -m calib_sweep inspect dataset=mini_web 'seed=range(5)'", tmp_path)
    print(run("sh", own_parts, tmp_path))
    (tmp_path / "my_methods.py").write_text(own_method)
    choice = tmp_path / "conf.local" / "method" / "weighted.yaml"
    choice.parent.mkdir(parents=True)
    choice.write_text("_target_: my_methods.Weighted\nsparsity: 0.5\n")
    short = "evaluation.zero_shot=null evaluation.perplexity.max_windows=1"
    printed = run("sh", f"python -m calib_sweep -m method=weighted,wanda {short}", tmp_path)
    mean = {words[0]: words[2] for line in printed.splitlines() if len(words := line.split()) > 2}
    assert mean["weighted"] == mean["wanda"]
