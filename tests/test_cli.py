"""The command line: verbs, exit codes, what it costs to ask."""

import os
import string
import subprocess
import sys

import pytest

from calib_sweep import __version__, cli, usage
from calib_sweep.cli import split_verb
from calib_sweep.errors import ConfigError
from calib_sweep.sweep.handover import hand_over, pack, unpack

HEAVY = ("torch", "transformers", "datasets", "wandb", "lm_eval", "accelerate", "pandas")


def run(*arguments, python=(sys.executable,), cwd=None):
    command = [*python, "-m", "calib_sweep", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=cwd)


@pytest.mark.parametrize(
    "arguments, verb, rest",
    [
        ([], None, []),
        (["seed=1"], None, ["seed=1"]),
        (["-m", "seed=1"], None, ["-m", "seed=1"]),
        (["+a=1"], None, ["+a=1"]),
        (["~tracking"], None, ["~tracking"]),
        (["--cfg", "job"], None, ["--cfg", "job"]),
        (["check", "-m", "seed=1"], "check", ["-m", "seed=1"]),
        (["report", "results/default"], "report", ["results/default"]),
        (["dashboard", "results/default"], "dashboard", ["results/default"]),
    ],
)
def test_a_first_word_without_an_equals_sign_is_a_verb(arguments, verb, rest):
    assert split_verb(arguments) == (verb, rest)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--resolve"],
        ["--cfg", "job", "--info"],
        ["--run", "--cfg", "job"],
        ["--cfg", "x"],
        ["--foo"],
    ],
)
def test_options_that_do_not_go_together_are_mistakes_as_others_are(arguments, run_cli, tmp_path):
    ended = run_cli(*arguments, cwd=tmp_path)
    assert ended.code == 1 and ended.err.startswith("ConfigError: ") and ended.err.count("\n") == 1


@pytest.mark.parametrize(
    "words",
    [
        "hydra.sweep.dir=x",
        "hydra.run.dir=x",
        "hydra.launcher=x",
        "hydra=1",
        "hydra.mode=RUN",
        "hydra/sweeper=basic",
        "+hydra.callbacks.x._target_=os.system",
    ],
)
def test_settings_of_hydras_without_effect_are_refused(words):
    with pytest.raises(ConfigError, match=r"has no effect here|expected one key of it"):
        hand_over(cli.CONF, "run", ["seed=1", words])


@pytest.mark.parametrize(
    "line, words",
    [
        ("calib-sweep che", {"check"}),
        ("calib-sweep re", {"report", "replicate="}),
        ("calib-sweep check method=wanda_", {"method=wanda_24", "method=wanda_variant"}),
        ("calib-sweep check -m method.spars", {"method.sparsity="}),
        ("python -m calib_sweep doc", {"doctor"}),
        ("python -m calib_sweep check method=wanda_", {"method=wanda_24", "method=wanda_variant"}),
        ("calib-sweep report ", set()),
        ("calib-sweep check -m method=nothing se", set()),
        ("calib-sweep check seed=${ met", set()),
    ],
)
def test_words_are_completed_also_after_a_verb_and_errors_stay_silent(
    line, words, run_cli, tmp_path
):
    ended = run_cli("-sc", "query=bash", cwd=tmp_path, env={"COMP_LINE": line})
    assert words <= set(ended.out.split()) and not ended.err
    assert words or not ended.out.strip()


@pytest.mark.parametrize("verb", sorted(cli.FOLDER_VERBS.keys() - {"doctor"}))
def test_a_folder_with_an_equals_sign_in_its_name_is_a_folder(verb, run_cli, tmp_path):
    (tmp_path / "a=b").mkdir()
    ended = run_cli(verb, "a=b", cwd=tmp_path)
    assert ended.code == 1 and "a=b" in ended.err and "expected the folder of one" not in ended.err


def test_the_version_is_ours(tmp_path):
    done = run("--version", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, f"calib-sweep {__version__}\n")


def test_the_installed_program_finds_modules_of_the_current_folder_after_all_others(tmp_path):
    program, here = tmp_path / "bin" / "calib-sweep", tmp_path / "here"
    program.parent.mkdir()
    here.mkdir()
    (here / "my_methods.py").write_text("NAME = 'mine'\n")
    (here / "json.py").write_text("raise SystemExit('not the library')\n")
    program.write_text(
        "import sys\nfrom calib_sweep.__main__ import main\n"
        "sys.argv[1:] = ['--version']\nmain()\nimport json, my_methods\nprint(my_methods.NAME)\n"
    )
    command = [sys.executable, program]
    done = subprocess.run(command, cwd=here, capture_output=True, text=True, timeout=60)
    assert done.stdout.split()[-1] == "mine", done.stderr
    isolated = {**os.environ, "PYTHONSAFEPATH": "1"}
    done = subprocess.run(command, cwd=here, capture_output=True, text=True, env=isolated)
    assert "No module named 'my_methods'" in done.stderr


@pytest.mark.parametrize("option", [("--cfg", "job"), ("--help",), ("--version",)])
def test_asking_costs_no_heavy_import(option, tmp_path):
    done = run(*option, python=(sys.executable, "-X", "importtime"), cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "calib_sweep.cli" in imported
    assert not imported & set(HEAVY)


def test_imports_are_not_searched_for_garbage(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        "import gc\nfrom calib_sweep import __main__, cli\n"
        "full = []\n"
        "def count(phase, info):\n"
        "    if phase == 'start' and info['generation'] == 2: full.append(info)\n"
        "def work():\n"
        "    import torch, pandas\n"
        "    return 0\n"
        "cli.main = work\n"
        "gc.callbacks.append(count)\n"
        "__main__.main()\n"
        "print(len(full), gc.isenabled())\n"
    )
    command = [sys.executable, program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["0", "True"], done.stderr


def test_help_names_every_verb_and_every_choice(tmp_path):
    done = run("--help", cwd=tmp_path)
    assert done.returncode == 0
    words = set(done.stdout.replace("=", " ").replace(",", " ").split())
    assert {*cli.GRID_VERBS, *cli.FOLDER_VERBS} <= words
    assert {path.stem for path in cli.CONF.rglob("*/*.yaml")} <= words
    assert "    awq                         input features scaled before rounding" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 100


def test_every_choice_has_a_phrase_of_its_own():
    phrases = [usage.phrase_of(path) for path in cli.CONF.rglob("*/*.yaml")]
    assert all(phrases) and len(set(phrases)) == len(phrases)


@pytest.mark.parametrize("verb", cli.VERBS)
def test_every_verb_has_a_help_of_its_own(verb, run_cli, tmp_path):
    ended = run_cli(verb, "--help", cwd=tmp_path)
    assert ended.code == 0 and ended.out.startswith(f"calib-sweep {verb} ")


def test_an_unknown_verb_names_the_known_ones(run_cli, tmp_path):
    done = run_cli("chek", "-m", cwd=tmp_path)
    assert done.code == 1
    assert "'chek'" in done.err and "check" in done.err and "report" in done.err


def test_two_mistakes_are_told_together_and_nothing_starts(run_cli, tmp_path):
    typed = ["method.sparsty=0.5", "-m", "calibration.num_sample=1", "seed=0,1"]
    done = run_cli(*typed, cwd=tmp_path)
    assert done.code == 1
    assert "method.sparsty=0.5: no such key" in done.err
    assert "calibration.num_sample=1: no such key" in done.err
    assert "Traceback" not in done.err
    assert not (tmp_path / "results").exists()


@pytest.mark.slow  # a process that imports everything; in this one: test_bad_input.py
def test_an_unknown_method_names_those_there_are(tmp_path):
    done = run("method=wnda", cwd=tmp_path)
    assert done.returncode == 1
    assert "Did you mean method=wanda?" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_flag_of_a_grid_may_stand_anywhere_and_all_that_is_typed_is_handed_on():
    typed = ["method=rtn,gptq", "-m", "method.bits=3", "experiment=paper", "hydra/launcher=slurm"]
    given = hand_over(cli.CONF, "check", typed)
    assert given[:3] == ["-m", "experiment=paper", "hydra/launcher=slurm"]
    assert given[3] == "hydra.sweeper.action=check"
    assert unpack(given[4].removeprefix("hydra.sweeper.typed=").strip("'")) == typed


@pytest.mark.parametrize("word", ["a='b c'", "x=${y}", 'text="\\n, % \'é 维"', "", "\udcff"])
def test_words_are_handed_on_as_they_were_typed(word):
    packed = pack([word, "seed=1"] if word else ["seed=1"])
    assert unpack(packed.strip("'")) == ([word, "seed=1"] if word else ["seed=1"])
    assert set(packed) <= set(string.ascii_letters + string.digits + "'%_.-~ ")


def test_a_key_that_the_default_method_lacks_can_be_set_for_methods_that_have_it(run_cli, tmp_path):
    done = run_cli("check", "-m", "method=rtn,gptq", "method.bits=3", "tracking=none", cwd=tmp_path)
    assert done.code == 0, done.err
    refused = run_cli("check", "-m", "method=rtn,wanda", "method.bits=3", cwd=tmp_path)
    assert refused.code == 1
    assert "method.bits=3: no such key. method has: sparsity, pattern" in refused.err


def test_a_fault_of_ours_in_a_verb_is_not_told_as_a_mistake_of_the_command_line(monkeypatch):
    def fails(arguments):
        raise ValueError(f"cannot report {arguments}")

    monkeypatch.setattr("calib_sweep.analysis.report.write.main", fails)
    monkeypatch.setattr("sys.argv", ["calib-sweep", "report", "results/default"])
    with pytest.raises(ValueError, match="cannot report"):
        cli.main()


def test_a_yaml_that_was_edited_between_two_commands_is_read_again(run_cli, tmp_path):
    """Also here, where commands of one process share what they read: helpers/shared_reading.py."""
    yaml = tmp_path / "own" / "method" / "half.yaml"
    yaml.parent.mkdir(parents=True)
    command = ("--cfg", "job", "--config-dir", str(tmp_path / "own"), "method=half")
    for sparsity in ("0.5", "0.6"):
        yaml.write_text(f"_target_: calib_sweep.method.wanda.Wanda\nsparsity: {sparsity}\n")
        assert f"sparsity: {sparsity}\n" in run_cli(*command, cwd=tmp_path).out
