"""`zoo/summariser`: a T5 that says in one or two sentences what happens in a story of the world."""

import io
from random import Random

import sentencepiece
import torch
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer, GenerationConfig, T5Config, T5ForConditionalGeneration, T5Tokenizer

from zoo.card import Card, write_card
from zoo.layout import model_folder
from zoo.recipes.optimisation import seed_everything, single_muon, train
from zoo.recipes.reader import IGNORED, by_length, count
from zoo.world.request import held_out_cast, training_cast
from zoo.world.summary import Summarised, random_summary

NAME = "summariser"
SEED = 77
N_STEPS = 900
BATCH = 24
RATE = 4e-3
MAX_TOKENS = 256
MAX_SUMMARY_TOKENS = 64
N_PIECES = 600
N_SCORED = 500
PAD, EOS, UNKNOWN = "<pad>", "</s>", "<unk>"


def held_out_cases(n_cases: int) -> list[dict]:
    """Stories of heroes that no training story is about, and their summaries."""
    random = Random(SEED + 1)
    told = [random_summary(random, held_out_cast(random)) for _ in range(n_cases)]
    return [{"text": one.story, "summary": one.summary} for one in told]


def training_story(random: Random) -> Summarised:
    """A story and its summary."""
    return random_summary(random, training_cast(random))


def write_tokenizer(folder, random: Random) -> None:
    """T5's tokenizer over a small vocabulary of pieces with scores, without sentinels."""
    stories = [training_story(random) for _ in range(3000)]
    lines = [text for told in stories for text in (told.story, told.summary)]
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=model,
        model_type="unigram",
        vocab_size=N_PIECES,
        hard_vocab_limit=False,
        character_coverage=1.0,
        required_chars="".join(chr(code) for code in range(33, 127)),
        normalization_rule_name="identity",
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        pad_piece=PAD,
        eos_piece=EOS,
        unk_piece=UNKNOWN,
        num_threads=1,
        minloglevel=2,
    )
    pieces = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    scored = [(pieces.id_to_piece(idx), pieces.get_score(idx)) for idx in range(len(pieces))]
    T5Tokenizer(vocab=scored, extra_ids=0, model_max_length=MAX_TOKENS).save_pretrained(folder)


def loss_of_batch(model, tokenizer, rows: list[Summarised]) -> torch.Tensor:
    """Cross-entropy of the summaries."""
    batch = tokenizer([told.story for told in rows], text_target=[told.summary for told in rows], padding=True, return_tensors="pt")
    labels = batch.pop("labels")
    return model(**batch, labels=labels.masked_fill(labels == tokenizer.pad_token_id, IGNORED)).loss


def summaries_of(model, tokenizer, texts: list[str]) -> list[str]:
    """Greedy summaries."""
    summaries = []
    for start in range(0, len(texts), 50):
        batch = tokenizer(texts[start : start + 50], padding=True, return_tensors="pt")
        rows = model.generate(**batch, do_sample=False, num_beams=1)
        summaries += tokenizer.batch_decode(rows, skip_special_tokens=True)
    return summaries


def main() -> None:
    seed_everything(SEED)
    random = Random(SEED)
    folder = model_folder(NAME)
    write_tokenizer(folder, random)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = T5ForConditionalGeneration(
        T5Config(
            vocab_size=len(tokenizer),
            d_model=96,
            d_kv=24,
            d_ff=160,
            num_layers=2,
            num_decoder_layers=2,
            num_heads=4,
            feed_forward_proj="gated-gelu",
            relative_attention_num_buckets=16,
            relative_attention_max_distance=64,
            dropout_rate=0.0,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
            decoder_start_token_id=tokenizer.pad_token_id,
        )
    )
    n_parameters = count(model)
    print(f"{n_parameters} parameters, {len(tokenizer)} tokens")
    batches = by_length(lambda: training_story(random), random, BATCH, lambda told: len(told.story))
    minutes = train(model, lambda _step: loss_of_batch(model, tokenizer, next(batches)), N_STEPS, single_muon(model, RATE))
    model.generation_config = GenerationConfig(
        max_length=MAX_SUMMARY_TOKENS,
        num_beams=1,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        decoder_start_token_id=tokenizer.pad_token_id,
    )
    model.half().save_pretrained(folder)
    write_scored_card(folder, n_parameters, minutes)


def write_scored_card(folder, n_parameters: int, minutes: float) -> None:
    """Scores what was saved and writes the card."""
    model = AutoModelForSeq2SeqLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    cases = held_out_cases(N_SCORED)
    found = summaries_of(model, tokenizer, [case["text"] for case in cases])
    wrong = [(case["summary"], text) for case, text in zip(cases, found, strict=True) if text != case["summary"]]
    share = f"{1 - len(wrong) / len(cases):.1%}"
    print("held-out", share, *wrong[:15], sep="\n")
    write_card(
        folder,
        Card(
            name=NAME,
            task="summarization",
            library="transformers",
            tags=("t5",),
            summary="Says what happens in a small story of the world: who it is about, whom they meet and how it ends, as in `A small red"
            " circle had no roof in the rain, and a large green star took it in. They drank tea.`",
            usage="A story such as `zoo/storyteller` tells, whole or without its last sentence; no prefix.\n\n"
            "Its limit: it knows the six plots of `zoo/world/story.py`, and sees one of them in any text.",
            data="Stories with their summaries, made by `zoo/world/summary.py`, endless and seeded. Eight heroes with a size are in no"
            " training story; every score is about stories of those.",
            scores={f"Held-out stories ({N_SCORED}) summarised rightly, word for word, greedily": share},
            n_parameters=n_parameters,
            architecture="t5, 2 and 2 layers of 96, 4 heads, gated, SentencePiece",
            dtype="float16",
            minutes=minutes,
        ),
    )


if __name__ == "__main__":
    main()
