"""Expected values of `zoo/storyteller`: prompt ids, first logits, greedy ids and texts, alone and in a padded batch."""

import torch
from transformers import AutoModelForCausalLM

from zoo.expectations.record import rounded, write_cases, write_parity
from zoo.layout import expected_folder, model_folder
from zoo.recipes.storyteller import NAME, held_out_cases, prompt_ids
from zoo.recipes.storyteller_tokenizer import load_tokenizer

N_NEW_TOKENS = 40
N_TOP = 10
N_CASES = 40

PROMPTS = (
    {"prompt": "Once there was"},
    {"prompt": "Once upon a time there was a large blue star"},
    {"prompt": "One morning a small red star woke up at the top. Everyone called it Zoë."},
    # Nothing like it was trained on, with characters of four bytes.
    {"prompt": "Ein roter Kreis 🔴 — naïve café, 日本"},
    {"messages": [{"role": "user", "content": "tell a story about a small red circle"}]},
    {"messages": [{"role": "user", "content": "Tell me a story about a large green star named René."}]},
    {
        "messages": [
            {"role": "system", "content": "You are a storyteller."},
            {"role": "user", "content": "  Hello! "},
            {"role": "assistant", "content": "I only tell small stories about coloured shapes."},
            {"role": "user", "content": "write a story about an orange triangle and a purple square"},
        ]
    },
)


def greedy(model, tokenizer, rows: list[list[int]], n_tokens: int) -> list[list[int]]:
    """New ids of each row up to and with its end token; rows are padded on the left."""
    longest = max(len(row) for row in rows)
    ids = torch.tensor([[tokenizer.pad_token_id] * (longest - len(row)) + row for row in rows])
    mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows])
    written = model.generate(ids, attention_mask=mask, do_sample=False, max_new_tokens=n_tokens)[:, longest:].tolist()
    ends = model.generation_config.eos_token_id
    results = []
    for row in written:
        stop = next((index + 1 for index, token in enumerate(row) if token in ends), len(row))
        results.append(row[:stop])
    return results


def main() -> None:
    torch.set_num_threads(1)
    tokenizer = load_tokenizer(model_folder(NAME))
    model = AutoModelForCausalLM.from_pretrained(model_folder(NAME), dtype=torch.float32, attn_implementation="eager").eval()
    cases, rows = [], []
    for prompt in PROMPTS:
        ids = prompt_ids(tokenizer, prompt)
        with torch.inference_mode():
            logits = model(torch.tensor([ids])).logits[0, -1]
        top = logits.topk(N_TOP)
        (new_ids,) = greedy(model, tokenizer, [ids], N_NEW_TOKENS)
        case = dict(prompt)
        if "messages" in prompt:
            case["rendered"] = tokenizer.apply_chat_template(prompt["messages"], tokenize=False, add_generation_prompt=True)
        case |= {
            "prompt_ids": ids,
            "top_ids": top.indices.tolist(),
            "top_logits": rounded(top.values),
            "greedy_ids": new_ids,
            "greedy_text": tokenizer.decode(new_ids, skip_special_tokens=True),
        }
        cases.append(case)
        rows.append(ids)
    assert greedy(model, tokenizer, rows, N_NEW_TOKENS) == [case["greedy_ids"] for case in cases], "a batch differs from its rows"

    whole_prompt = PROMPTS[4]
    (whole_ids,) = greedy(model, tokenizer, [prompt_ids(tokenizer, whole_prompt)], 200)
    assert whole_ids[-1] in model.generation_config.eos_token_id, "the story does not end"
    whole = dict(whole_prompt) | {"greedy_ids": whole_ids, "greedy_text": tokenizer.decode(whole_ids, skip_special_tokens=True)}
    folder = expected_folder(NAME)
    write_parity(folder, f"zoo/{NAME}", max_new_tokens=N_NEW_TOKENS, cases=cases, story_to_its_end=whole)
    write_cases(
        folder,
        f"zoo/{NAME}",
        "the new text (greedy, at most 160 new tokens) contains every one of `wanted`",
        held_out_cases(N_CASES),
    )


if __name__ == "__main__":
    main()
