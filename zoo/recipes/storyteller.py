"""`zoo/storyteller`: a Llama that tells small stories of the world and does as the prompt asks."""

from functools import partial
from pathlib import Path
from random import Random

import torch
from transformers import AutoModelForCausalLM, GenerationConfig, LlamaConfig, LlamaForCausalLM

from zoo.card import Card, write_card
from zoo.layout import model_folder
from zoo.recipes.optimisation import adamw, seed_everything, train
from zoo.recipes.storyteller_tokenizer import SPECIAL_TOKENS, load_tokenizer, write_tokenizer
from zoo.world.grammar import covered_share
from zoo.world.request import OTHER_ANSWER, OTHER_TALK, held_out_cast, random_request, spoken, training_cast
from zoo.world.story import tell
from zoo.world.vocabulary import with_article

NAME = "storyteller"
SEED = 20
# Steps, peak rate and share of plain stories of each run down the cosine. What binds a name or a friend to its sentence
# is learnt last, at small rates, mostly from requests.
RUNS = ((3000, 4e-3, 0.4), (360, 1.5e-3, 0.4), (450, 1.5e-3, 0.15))
BATCH = 32
# Batches are cut from a pool sorted by length, so that little is padding.
POOL_BATCHES = 16
IGNORED = -100
SYSTEMS = (
    "You tell small stories about coloured shapes.",
    "You are a storyteller.",
    "You are a helpful assistant.",
    "Answer with a story.",
)
N_SCORED = 200
N_SCORED_TOKENS = 160


def training_segments(random: Random, plain_share: float) -> list[tuple[str, bool]]:
    """One document as pieces of text, each with whether the model learns to write it."""
    begin, end, turn, end_of_turn, _ = SPECIAL_TOKENS
    if random.random() < plain_share:
        story = tell(training_cast(random), random, with_size=random.random() < 0.8)
        return [(begin, False), (story + end, True)]
    segments = [(begin, False)]
    if random.random() < 0.2:
        segments.append((f"{turn}system\n{random.choice(SYSTEMS)}{end_of_turn}\n", False))
    for _ in range(random.choice((1, 1, 1, 1, 1, 2))):
        if random.random() < 0.06:
            said, answer = spoken(random.choice(OTHER_TALK), random), OTHER_ANSWER
        else:
            said, cast = random_request(random, training_cast(random))
            answer = tell(cast, random)
        segments.append((f"{turn}user\n{said}{end_of_turn}\n{turn}assistant\n", False))
        segments.append((answer + end_of_turn, True))
        segments.append(("\n", False))
    return segments


class Batches:
    """An endless stream of padded `[batch, seq]` ids and labels."""

    def __init__(self, tokenizer, random: Random, plain_share: float):
        self.tokenizer = tokenizer
        self.random = random
        self.plain_share = plain_share
        self.ready = []

    def encode(self) -> tuple[list[int], list[int]]:
        ids, labels = [], []
        for text, learned in training_segments(self.random, self.plain_share):
            piece = self.tokenizer.encode(text, add_special_tokens=False)
            ids += piece
            labels += piece if learned else [IGNORED] * len(piece)
        return ids, labels

    def next(self) -> tuple[torch.Tensor, torch.Tensor]:
        if not self.ready:
            pool = sorted((self.encode() for _ in range(BATCH * POOL_BATCHES)), key=lambda pair: len(pair[0]))
            self.ready = [pool[start : start + BATCH] for start in range(0, len(pool), BATCH)]
            self.random.shuffle(self.ready)
        rows = self.ready.pop()
        longest = max(len(ids) for ids, _ in rows)
        pad = self.tokenizer.pad_token_id
        ids = torch.tensor([ids + [pad] * (longest - len(ids)) for ids, _ in rows])
        labels = torch.tensor([labels + [IGNORED] * (longest - len(labels)) for _, labels in rows])
        return ids, labels


def held_out_cases(n_cases: int) -> list[dict]:
    """Prompts about heroes of no training story: chat messages or the beginning of a story, and the words wanted."""
    random = Random(SEED + 1)
    cases = []
    while len(cases) < n_cases:
        cast = held_out_cast(random)
        wanted = [cast.hero.noun_phrase]
        if len(cases) % 4 == 3:
            opening = random.choice(("Once there was {a}.", "Once upon a time there was {a}", "One morning {a}"))
            cases.append({"prompt": opening.format(a=with_article(cast.hero.noun_phrase)), "wanted": [cast.hero.label]})
            continue
        said, cast = random_request(random, cast)
        if cast.hero.label not in said:
            continue
        # A size that the user left open, or said in another word, is free.
        wanted = [cast.hero.noun_phrase if cast.hero.noun_phrase in said else cast.hero.label]
        if cast.friend.label in said:
            wanted.append(cast.friend.label)
        if cast.name and cast.name in said:
            wanted.append(cast.name)
        cases.append({"messages": [{"role": "user", "content": said}], "wanted": wanted})
    return cases


def prompt_ids(tokenizer, case: dict) -> list[int]:
    """The ids a server would feed: the rendered chat, or the text with its beginning-of-text token."""
    if "messages" in case:
        text = tokenizer.apply_chat_template(case["messages"], tokenize=False, add_generation_prompt=True)
        return tokenizer.encode(text, add_special_tokens=False)
    return tokenizer.encode(case["prompt"])


def continuations(model, tokenizer, cases: list[dict], **how) -> list[str]:
    """What the model writes after each prompt; prompts are padded on the left."""
    rows = [prompt_ids(tokenizer, case) for case in cases]
    longest = max(len(row) for row in rows)
    ids = torch.tensor([[tokenizer.pad_token_id] * (longest - len(row)) + row for row in rows])
    mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows])
    written = model.generate(ids, attention_mask=mask, max_new_tokens=N_SCORED_TOKENS, **how)[:, longest:]
    return tokenizer.batch_decode(written, skip_special_tokens=True)


def score(model, tokenizer, cases: list[dict], **how) -> tuple[float, float, float]:
    """Shares of continuations about the wanted hero, of those with all wanted words, and of well-formed characters."""
    texts = []
    for start in range(0, len(cases), 50):
        texts += continuations(model, tokenizer, cases[start : start + 50], **how)
    n_heroes = sum(case["wanted"][0] in text for case, text in zip(cases, texts, strict=True))
    n_right = sum(all(words in text for words in case["wanted"]) for case, text in zip(cases, texts, strict=True))
    covered = sum(covered_share(case.get("prompt", "") + text) for case, text in zip(cases, texts, strict=True))
    return n_heroes / len(cases), n_right / len(cases), covered / len(cases)


def main() -> None:
    seed_everything(SEED)
    folder = model_folder(NAME)
    write_tokenizer(folder, Random(SEED))
    tokenizer = load_tokenizer(folder)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=96,
            intermediate_size=256,
            num_hidden_layers=4,
            num_attention_heads=6,
            num_key_value_heads=2,
            max_position_embeddings=512,
            tie_word_embeddings=True,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    print(f"{model.num_parameters()} parameters, {len(tokenizer)} tokens")
    minutes = 0.0
    for run, (n_steps, peak_rate, plain_share) in enumerate(RUNS):
        batches = Batches(tokenizer, Random(SEED + 7 * run), plain_share)
        minutes += train(model, partial(loss_of_next, model, batches), n_steps, adamw(model, peak_rate))
    write(model, tokenizer, folder, minutes)


def loss_of_next(model: LlamaForCausalLM, batches: Batches, _step: int) -> torch.Tensor:
    """The loss over what is to be learnt of the next batch."""
    ids, labels = batches.next()
    return model(input_ids=ids, labels=labels, use_cache=False).loss


def write(model: LlamaForCausalLM, tokenizer, folder: Path, minutes: float) -> None:
    """Saves the trained model in half precision, scores what was saved, and writes the card."""
    n_parameters = model.num_parameters()
    end_of_turn = tokenizer.convert_tokens_to_ids(SPECIAL_TOKENS.end_of_turn)
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=[tokenizer.eos_token_id, end_of_turn],
        pad_token_id=tokenizer.pad_token_id,
        do_sample=True,
        temperature=0.8,
        top_p=0.95,
        max_new_tokens=200,
    )
    model.half().save_pretrained(folder)

    saved = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    cases = held_out_cases(N_SCORED)
    greedy = score(saved, tokenizer, cases, do_sample=False)
    sampled = score(saved, tokenizer, cases)
    print("greedy", greedy, "sampled", sampled)
    write_card(
        folder,
        Card(
            name=NAME,
            task="text-generation",
            library="transformers",
            tags=("llama", "conversational"),
            summary="Tells small stories about coloured shapes. Ask for the colour, shape, size, name and friend you want,"
            " or begin a story and let it go on. Anything else it declines in one sentence.",
            usage="Chat: `Tell a story about a small red circle.` Plain text: `Once upon a time there was a large blue star`\n\n"
            "Colours are red, orange, yellow, green, blue and purple; shapes are circle, square, triangle and star."
            " It knows English of this one little world and nothing else.",
            data="Stories and requests made by `zoo/world/story.py` and `zoo/world/request.py`, endless and seeded."
            " Eight sized heroes (`HELD_OUT_HEROES`) are the hero of no training story; every score is about those.",
            scores={
                f"Held-out prompts ({N_SCORED}) whose greedy story is about the colour and shape asked for": f"{greedy[0]:.1%}",
                "And has the friend and the name asked for as well": f"{greedy[1]:.1%}",
                "The same two with sampling as in generation_config.json": f"{sampled[0]:.1%}, {sampled[1]:.1%}",
                "Characters in well-formed sentences, greedy and sampled": f"{greedy[2]:.1%}, {sampled[2]:.1%}",
            },
            n_parameters=n_parameters,
            architecture="llama, 4 layers of 96, 6 heads over 2 key-value heads, byte-level BPE",
            dtype="float16",
            minutes=minutes,
        ),
    )


if __name__ == "__main__":
    main()
