"""The tokens that agreement.py reads, drawn and cut as the program does it.

    python benchmarks/agreement_tokens.py --sets 2 --out tokens.npz calibration.num_samples=128
    python benchmarks/agreement_tokens.py --sets 2 --out tokens.npz model=hf model.path=FOLDER \
        dataset=text dataset.path=texts.jsonl 'evaluation.perplexity.corpora=[test.txt]'

What follows the options are overrides of a command line of calib_sweep. Writes `calibration_SNT`,
the sets of seeds 0, 1 .., and `evaluation_NT`, the windows of all corpora. A machine that measures
then needs neither the datasets nor the libraries that read them.
"""

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from calib_sweep.dataset.calibration.artifact import draw_or_load
from calib_sweep.parts.building import Builder
from calib_sweep.places import CONF
from calib_sweep.sweep.plan import compose_command_line


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sets", type=int, default=2, help="calibration sets, of seeds from 0")
    parser.add_argument("--out", type=Path, required=True, help="an .npz file")
    parser.add_argument("overrides", nargs="*")
    arguments = parser.parse_args()
    (point,) = compose_command_line(CONF, ["evaluation.zero_shot=null", *arguments.overrides])
    config = point.config
    target = "calib_sweep.dataset.calibration.settings.Calibration"
    build = Builder().build
    calibration = build("calibration", {"_target_": target, **config["calibration"]})
    dataset = build("dataset", config["dataset"])
    tokenizer = build("model", config["model"]).load_tokenizer()
    with TemporaryDirectory() as results:
        drawn = [
            draw_or_load(Path(results), dataset, tokenizer, calibration, seed).tokens_NT
            for seed in range(arguments.sets)
        ]
    windows = build("evaluation", config["evaluation"]).prepare(tokenizer).windows
    evaluation = np.concatenate([corpus.tokens_NT for corpus in windows])
    np.savez_compressed(arguments.out, calibration_SNT=np.stack(drawn), evaluation_NT=evaluation)
    print(f"{arguments.out}: {np.shape(drawn)} to calibrate on, {evaluation.shape} to score")


if __name__ == "__main__":
    main()
