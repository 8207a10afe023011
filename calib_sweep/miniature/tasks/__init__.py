"""Five zero-shot tasks over the miniature world, as lm-eval task definitions.

mini_<name>.yaml is what lm-eval reads, items/mini_<name>.jsonl its items (written by `build.py`,
which is not needed to use them). Nothing heavy is imported here.
"""
