"""Chat templates as the families of models write them, each in its own words here."""

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LLAMA_2 = (
    "{% for m in messages %}"
    "{% if m['role'] == 'user' %}{{ bos_token + '[INST] ' + m['content'] | trim + ' [/INST]' }}"
    "{% elif m['role'] == 'system' %}{{ raise_exception('no system prompt here') }}"
    "{% else %}{{ ' ' + m['content'] | trim + ' ' + eos_token }}{% endif %}{% endfor %}"
)
LLAMA_3 = (
    "{{ bos_token }}<|start_header_id|>system<|end_header_id|>\n\n"
    "Today Date: {{ strftime_now('%d %b %Y') }}\n\n<|eot_id|>"
    "{% for m in messages %}<|start_header_id|>{{ m['role'] }}<|end_header_id|>\n\n"
    "{{ m['content'] | trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
# The system prompt stands in the last question, so a conversation does not begin as a longer one.
MISTRAL = (
    "{{ bos_token }}{% set last = messages | selectattr('role', 'equalto', 'user') | list | last %}"
    "{% set own = messages | selectattr('role', 'equalto', 'system') | list %}"
    "{% for m in messages %}{% if m['role'] == 'user' %}[INST] "
    "{% if own and m == last %}{{ own[0]['content'] + '\n\n' }}{% endif %}{{ m['content'] }}[/INST]"
    "{% elif m['role'] == 'assistant' %}{{ ' ' + m['content'] | trim + eos_token }}{% endif %}"
    "{% endfor %}"
)
GEMMA = (
    "{{ bos_token }}{% for m in messages %}"
    "{% set role = 'model' if m['role'] == 'assistant' else m['role'] %}"
    "<start_of_turn>{{ role }}\n{{ m['content'] | trim }}<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
VICUNA = (
    "{% for m in messages %}{% if m['role'] == 'user' %}{{ 'USER: ' + m['content'] + ' ' }}"
    "{% elif m['role'] == 'assistant' %}{{ 'ASSISTANT: ' + m['content'] + eos_token }}"
    "{% else %}{{ m['content'] + ' ' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'ASSISTANT: ' }}{% endif %}"
)
# What an earlier answer thought aloud is left out, an answer without a thought gets an empty one.
THINKING = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
    "{% if m['role'] == 'assistant' %}{% set said = m['content'].split('</think>') | last %}"
    "{% if loop.last %}{% if '</think>' in m['content'] %}"
    "{% set thought = (m['content'].split('</think>') | first).split('<think>') | last | trim %}"
    "{% else %}{% set thought = '' %}{% endif %}"
    "{{ '<think>\n' + thought + '\n</think>\n\n' }}{% endif %}{{ said | trim }}"
    "{% else %}{{ m['content'] }}{% endif %}<|im_end|>\n{% endfor %}"
)
PLAIN = (
    "{% for m in messages %}"
    "{{ ('A: ' if m['role'] == 'assistant' else 'Q: ') + m['content'] + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'A: ' }}{% endif %}"
)
# Those whose text with an answer begins as the text that asks for it.
BY_PREFIX = {"chatml": CHATML, "llama_3": LLAMA_3, "gemma": GEMMA, "vicuna": VICUNA, "plain": PLAIN}
# Answers marked by the template itself.
MARKED = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
    "{% if m['role'] == 'assistant' %}{% generation %}{{ m['content'] }}<|im_end|>"
    "{% endgeneration %}{% else %}{{ m['content'] }}<|im_end|>{% endif %}\n{% endfor %}"
)
# Of the tokenizer of helpers/words.py: every turn between its two signs.
OF_WORDS = (
    "{{ bos_token }} {% for m in messages %}"
    "{% if m['role'] == 'assistant' %}{{ '<extra5> ' + m['content'] + ' ' + eos_token + ' ' }}"
    "{% else %}{{ '<extra4> ' + m['content'] + ' ' }}{% endif %}{% endfor %}"
)
