"""The embedded world: generated text in five domains, zero-shot tasks, a small LLaMA trained on it.

text/ and corpus.py write, tasks/ asks, tokenizer.py, batches.py and train.py teach, card.py with
gates.py measures; no part imports one to its right. Nothing heavy is imported here.
"""

from pathlib import Path

WEIGHTS = Path(__file__).parent / "weights"  # the shipped checkpoint, a transformers folder

# They play C4, CNN-DM, RedPajama, RefinedWeb and Wikipedia.
DOMAINS = ("mini_web", "mini_news", "mini_mix", "mini_filtered", "mini_wiki")
