"""Compress the miniature model by two methods on three draws each, and score it: Python only.

    python examples/compress.py

Nothing is downloaded. The scores are those that the command line would write into its records.
"""

import torch

import calib_sweep

torch.set_num_threads(1)  # so small a model gains nothing by more
part = calib_sweep.model("miniature")
evaluation = calib_sweep.evaluation(
    "miniature", zero_shot=None, divergence=None, perplexity={"max_windows": 2}
)
CORPUS = "ppl/mini_web@256"
METHODS = {"wanda": "wanda", "sparsegpt": calib_sweep.method("sparsegpt", sparsity=0.6)}

print("method     seed  perplexity  sparsity")
dense = calib_sweep.evaluate(part.load(), evaluation).scores[CORPUS]
print(f"dense         -  {dense:10.2f}      0.00")
for name, method in METHODS.items():
    for seed in range(3):
        model = part.load()  # anew, as compression changes it in place
        drawn = calib_sweep.draw("mini_web", "miniature", num_samples=8, seed=seed)
        layers = calib_sweep.compress(model, method, drawn)
        score = calib_sweep.evaluate(model, evaluation).scores[CORPUS]
        sparsity = sum(layer.sparsity for layer in layers) / len(layers)
        print(f"{name:10s} {seed:4d}  {score:10.2f}  {sparsity:8.2f}")
