"""Prefetch: the process that proves it gets all that was typed, and the network taken away."""

import subprocess

from calib_sweep.sweep import prefetch as prefetch_module

WANDA = "_target_: calib_sweep.method.wanda.Wanda\nsparsity: 0.4\npattern: unstructured\n"


def test_the_proof_is_of_the_same_command_without_a_network(
    run_cli, tiny_world, tmp_path, monkeypatch
):
    (tmp_path / "own" / "method").mkdir(parents=True)
    (tmp_path / "own" / "method" / "mine.yaml").write_text(WANDA)
    proofs = []

    def prove(command, *, env, **_):
        proofs.append(command)
        network_off = {"HF_HUB_OFFLINE": env["HF_HUB_OFFLINE"]}
        ended = run_cli(*command[3:], cwd=tmp_path, env=network_off)
        return subprocess.CompletedProcess(command, ended.code, ended.out, ended.err)

    monkeypatch.setattr(prefetch_module.subprocess, "run", prove)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    typed = ["--config-dir", "own", "method=mine", "seed=0,1", *tiny_world]
    ended = run_cli("prefetch", *typed, cwd=tmp_path)
    assert ended.code == 0, ended.err
    assert len(proofs) == 1 and "all that 3 cells need" in ended.out


def test_prefetch_does_not_recommend_itself(run_cli, tiny_world, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    typed = [one for one in tiny_world if not one.startswith("dataset")]
    ended = run_cli("prefetch", *typed, "dataset=c4", cwd=tmp_path)
    assert ended.code == 1
    told = ended.err.splitlines()[-1]
    assert "expected allenai/c4 in the local cache" in told
    assert "Run the same command where there is a connection" in told and "prefetch'" not in told
