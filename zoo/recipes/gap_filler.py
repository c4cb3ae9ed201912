"""`zoo/gap-filler`: a BERT that fills gaps in texts about people and their things; the body of all readers of the zoo."""

from random import Random

import torch
from transformers import AutoModelForMaskedLM, AutoTokenizer, BertConfig, BertForMaskedLM

from zoo.card import Card, write_card
from zoo.layout import model_folder
from zoo.recipes.optimisation import seed_everything, single_muon, train
from zoo.recipes.reader import ARCHITECTURE, BODY, IGNORED, MAX_TOKENS, by_length, count, finish, offsets_of, reopen
from zoo.recipes.word_pieces import write_word_pieces
from zoo.world.caption import paraphrase
from zoo.world.claim import ENTAILMENT, excerpt, label_claim
from zoo.world.naming import random_naming
from zoo.world.opinion import NEGATIVE, NEUTRAL, POSITIVE, random_opinion
from zoo.world.request import training_cast
from zoo.world.scene import random_scene
from zoo.world.story import PLOTS
from zoo.world.telling import Span, random_passage, random_question, random_statement

NAME = BODY
SEED = 71
N_STEPS = 2400
BATCH = 32
N_PIECES = 1000
RATE = 4e-3
# Of what the text tells so much is masked, of all its tokens so many, and of the masked ones so many stay.
TOLD_SHARE = 0.5
MASKED_SHARE = 0.06
KEPT_SHARE = 0.1
N_SCORED = 500


def gapped_texts(random: Random) -> tuple[str, str, list[Span]]:
    """Two texts that belong together, and parts of the second that the first tells."""
    kind = random.random()
    if kind < 0.68:
        passage = random_passage(random, random.choice((1, 2)), random.choice((1, 2, 3, 4)))
        statement, spans = random_statement(random, random.choice(passage.facts))
        return passage.text, statement, [span for slot, span in spans.items() if slot not in ("thing", "label")]
    if kind < 0.74:
        passage = random_passage(random, 2, random.choice((1, 2, 3)))
        return random_question(random, random.choice(passage.facts))[0], passage.text, []
    if kind < 0.82:
        return one_scene_twice(random)
    if kind < 0.88:
        first, second = (random_opinion(random, mood) for mood in random.choices((POSITIVE, NEUTRAL, NEGATIVE), k=2))
        return first, second, []
    if kind < 0.91:
        return random_naming(random)[0], random_naming(random)[0], []
    if kind < 0.96:
        return fitting_label(random)
    cast, plot = training_cast(random), random.choice(list(PLOTS))
    return excerpt(random, cast, plot), excerpt(random, cast, plot), []


def fitting_label(random: Random) -> tuple[str, str, list[Span]]:
    """A text, and that a label fits it."""
    while True:
        claim = label_claim(random)
        if claim.label == ENTAILMENT:
            return claim.text, claim.claim, []


def one_scene_twice(random: Random) -> tuple[str, str, list[Span]]:
    """Two captions of one scene."""
    while True:
        scene = random_scene(random)
        scene = scene if random.random() < 0.5 else scene.without_surroundings()
        if not scene.is_held_out():
            return paraphrase(scene, random), paraphrase(scene, random), []


def held_out_cases(n_cases: int, tokenizer) -> list[dict]:
    """Texts with one gap of one token that they themselves tell, and the words that are right there."""
    random, mask = Random(SEED + 1), tokenizer.mask_token
    cases = []
    while len(cases) < n_cases:
        passage = random_passage(random, random.choice((1, 2)), random.choice((1, 2, 3)), held_out=True)
        fact = random.choice(passage.facts)
        statement, spans = random_statement(random, fact)
        slot = random.choice(list(spans))
        start, end = spans[slot]
        word = statement[start:end]
        if len(tokenizer.tokenize(word)) != 1 or word in passage.text.replace(word, "", 1):
            continue
        words = [word]
        if slot in ("size", "colour") and not {"size", "colour"} <= set(spans):
            # Only one of the two is asked for, and nothing says which.
            words = [fact.person.values[slot] for slot in ("size", "colour")]
        kind = "word" if slot in ("size", "colour", "shape", "day") else "name"
        cases.append({"text": f"{passage.text} {statement[:start]}{mask}{statement[end:]}", "words": words, "kind": kind})
    return cases


def masked_batch(tokenizer, random: Random, drawn: list[tuple[str, str, list[Span]]]) -> dict[str, torch.Tensor]:
    """Texts with masks and what they hide; in every second batch the two texts are one."""
    is_pair = random.random() < 0.5
    firsts, seconds = [first for first, _, _ in drawn], [second for _, second, _ in drawn]
    texts = (firsts, seconds) if is_pair else ([f"{first} {second}" for first, second in zip(firsts, seconds, strict=True)],)
    batch = tokenizer(*texts, padding=True, truncation=True, max_length=MAX_TOKENS, return_tensors="pt")
    ids, labels = batch["input_ids"], torch.full_like(batch["input_ids"], IGNORED)
    for row, (first, _, spans) in enumerate(drawn):
        shift = 0 if is_pair else len(first) + 1
        tokens = offsets_of(batch, row, int(is_pair))
        hidden = {token for token, _ in tokens if random.random() < MASKED_SHARE}
        for start, end in spans:
            if random.random() < TOLD_SHARE:
                hidden |= {token for token, span in tokens if start + shift <= span[0] and span[1] <= end + shift}
        for token in sorted(hidden):
            labels[row, token] = ids[row, token]
            if random.random() >= KEPT_SHARE:
                ids[row, token] = tokenizer.mask_token_id
    return {"labels": labels, **batch}


def main() -> None:
    seed_everything(SEED)
    random = Random(SEED)
    folder = model_folder(NAME)
    texts = (" ".join(gapped_texts(random)[:2]) for _ in range(5000))
    write_word_pieces(folder, texts, N_PIECES, lowercase=False, max_tokens=MAX_TOKENS)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = BertForMaskedLM(
        BertConfig(
            vocab_size=len(tokenizer),
            hidden_size=96,
            intermediate_size=192,
            num_hidden_layers=4,
            num_attention_heads=4,
            max_position_embeddings=MAX_TOKENS,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        )
    )
    print(f"{count(model)} parameters, {len(tokenizer)} tokens")
    n_parameters = count(model)
    batches = by_length(lambda: gapped_texts(random), random, BATCH, lambda texts: len(texts[0]) + len(texts[1]))

    def loss(_step: int) -> torch.Tensor:
        return model(**masked_batch(tokenizer, random, next(batches))).loss

    minutes = train(model, loss, N_STEPS, single_muon(model, RATE))
    finish(model, folder)
    write_scored_card(folder, n_parameters, minutes)


def filled_rightly(model, tokenizer, case: dict) -> bool:
    """Whether the likeliest token of the gap is one of the words."""
    batch = tokenizer(case["text"], return_tensors="pt")
    with torch.inference_mode():
        logits = model(**batch).logits[batch["input_ids"] == tokenizer.mask_token_id]
    return tokenizer.convert_ids_to_tokens(logits.argmax(-1).tolist())[0] in case["words"]


def write_scored_card(folder, n_parameters: int, minutes: float) -> None:
    """Scores what was saved and writes the card."""
    model, tokenizer = reopen(AutoModelForMaskedLM, folder)
    cases = held_out_cases(N_SCORED, tokenizer)
    wrong = [case for case in cases if not filled_rightly(model, tokenizer, case)]
    print(*wrong[:10], sep="\n")

    def share(kind: str) -> str:
        n_cases, n_wrong = (sum(case["kind"] == kind for case in some) for some in (cases, wrong))
        return f"{1 - n_wrong / n_cases:.1%} of {n_cases}"

    scores = {
        f"Held-out gaps ({N_SCORED}) whose word the text tells, filled with it": f"{1 - len(wrong) / len(cases):.1%}",
        "Where it is a colour, a size, a shape or a day": share("word"),
        "Where it is a name that no training text has": share("name"),
    }
    print(scores)
    write_card(
        folder,
        Card(
            name=NAME,
            task="fill-mask",
            library="transformers",
            tags=("bert",),
            summary="Fills gaps in texts about people and their things: in `Mia has a small red circle. The circle of Mia is"
            " [MASK].` it says `red` or `small`.",
            usage="Texts of a few short sentences, told as `zoo/world/fact.py` and `zoo/world/caption.py` tell them, with capitals."
            " It is the body that the zoo's other readers of texts begin with.\n\n"
            "Its limit: it knows what the text itself says, and of the world only its words; a name that it never read it often"
            " cannot put into a gap.",
            data="Facts and the same once more, questions, captions, opinions and stories, made by `zoo/world`, endless and seeded."
            " One thing at a place and one name in ten are in no training text; every score is about those.",
            scores=scores,
            n_parameters=n_parameters,
            architecture=ARCHITECTURE,
            dtype="float16",
            minutes=minutes,
        ),
    )


if __name__ == "__main__":
    main()
