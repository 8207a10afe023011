"""The embedded world: generated text in five domains, zero-shot tasks, a small LLaMA trained on it.

text/ and corpus.py write, tasks/ asks, tokenizer.py, batches.py and train.py teach, card.py with
gates.py measures; no part imports one to its right. Nothing heavy is imported here.
"""
