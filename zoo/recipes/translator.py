"""`zoo/translator`: a Marian that puts the world's English into Tavi, the world's other language."""

import io
from random import Random

import sentencepiece
import torch
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer, GenerationConfig, MarianConfig, MarianMTModel

from zoo.card import Card, write_card
from zoo.layout import model_folder
from zoo.recipes.optimisation import seed_everything, single_muon, train
from zoo.recipes.word_pieces import write_json
from zoo.world.tongue import sentence_pair

NAME = "translator"
SEED = 57
N_STEPS = 1000
BATCH = 32
MAX_TOKENS = 96
N_PIECES = 700
N_SCORED = 500
IGNORED = -100
EOS, UNKNOWN, PAD = "</s>", "<unk>", "<pad>"


def held_out_cases(n_cases: int) -> list[dict]:
    """Sentences about scenes, things and names that no training sentence has."""
    random = Random(SEED + 1)
    return [dict(zip(("text", "translation"), sentence_pair(random, held_out=True), strict=True)) for _ in range(n_cases)]


def write_tokenizer(folder, random: Random) -> None:
    """Marian's files: a SentencePiece model for each language, here the same for both, and a vocabulary."""
    lines = [text for _ in range(6000) for text in sentence_pair(random)]
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=model,
        model_type="bpe",
        vocab_size=N_PIECES,
        character_coverage=1.0,
        required_chars="".join(chr(code) for code in range(33, 127)),
        # Without a table of replacements, which would be larger than the pieces.
        normalization_rule_name="identity",
        num_threads=1,
        minloglevel=2,
    )
    for file in ("source.spm", "target.spm"):
        (folder / file).write_bytes(model.getvalue())
    processor = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    pieces = [processor.id_to_piece(idx) for idx in range(len(processor)) if not (processor.is_control(idx) or processor.is_unknown(idx))]
    write_json(folder / "vocab.json", {piece: idx for idx, piece in enumerate([EOS, UNKNOWN, *pieces, PAD])})
    settings = {
        "tokenizer_class": "MarianTokenizer",
        "source_lang": "en",
        "target_lang": "tavi",
        "model_max_length": MAX_TOKENS,
        "eos_token": EOS,
        "unk_token": UNKNOWN,
        "pad_token": PAD,
        "separate_vocabs": False,
    }
    write_json(folder / "tokenizer_config.json", settings)


def pairs_by_length(random: Random):
    """Endless batches of pairs of about the same length."""
    while True:
        pairs = sorted((sentence_pair(random) for _ in range(8 * BATCH)), key=lambda pair: len(pair[0]))
        yield from random.sample([pairs[start : start + BATCH] for start in range(0, len(pairs), BATCH)], 8)


def loss_of_batch(model: MarianMTModel, tokenizer, pairs: list[tuple[str, str]]) -> torch.Tensor:
    """Cross-entropy of the translations."""
    batch = tokenizer([english for english, _ in pairs], text_target=[tavi for _, tavi in pairs], padding=True, return_tensors="pt")
    labels = batch.pop("labels")
    return model(**batch, labels=labels.masked_fill(labels == tokenizer.pad_token_id, IGNORED)).loss


def translations_of(model: MarianMTModel, tokenizer, texts: list[str]) -> list[str]:
    """Greedy translations, all in one batch."""
    batch = tokenizer(texts, padding=True, return_tensors="pt")
    rows = model.generate(**batch, do_sample=False, num_beams=1)
    return tokenizer.batch_decode(rows, skip_special_tokens=True)


def main() -> None:
    seed_everything(SEED)
    random = Random(SEED)
    folder = model_folder(NAME)
    write_tokenizer(folder, random)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = MarianMTModel(
        MarianConfig(
            vocab_size=len(tokenizer),
            d_model=96,
            encoder_layers=2,
            decoder_layers=2,
            encoder_attention_heads=4,
            decoder_attention_heads=4,
            encoder_ffn_dim=192,
            decoder_ffn_dim=192,
            dropout=0.0,
            activation_function="swish",
            scale_embedding=True,
            max_position_embeddings=MAX_TOKENS,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
            decoder_start_token_id=tokenizer.pad_token_id,
            forced_eos_token_id=tokenizer.eos_token_id,
        )
    )
    n_parameters = sum(weight.numel() for weight in model.parameters())
    print(f"{n_parameters} parameters, {len(tokenizer)} tokens")
    batches = pairs_by_length(random)
    minutes = train(model, lambda _step: loss_of_batch(model, tokenizer, next(batches)), N_STEPS, single_muon(model, 4e-3))
    model.generation_config = GenerationConfig(
        max_length=MAX_TOKENS,
        num_beams=1,
        bad_words_ids=[[tokenizer.pad_token_id]],
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        decoder_start_token_id=tokenizer.pad_token_id,
        forced_eos_token_id=tokenizer.eos_token_id,
    )
    model.half().save_pretrained(folder)
    write_scored_card(folder, n_parameters, minutes)


def write_scored_card(folder, n_parameters: int, minutes: float) -> None:
    """Scores what was saved and writes the card."""
    model = AutoModelForSeq2SeqLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    cases = held_out_cases(N_SCORED)
    found = translations_of(model, tokenizer, [case["text"] for case in cases])
    wrong = [(case["translation"], text) for case, text in zip(cases, found, strict=True) if text != case["translation"]]
    share = f"{1 - len(wrong) / len(cases):.1%}"
    print("held-out", share, *wrong[:15], sep="\n")
    write_card(
        folder,
        Card(
            name=NAME,
            task="translation",
            library="transformers",
            tags=("marian",),
            summary="Translates the world's English into Tavi, a language made for it: `There is a small red circle on the left.`"
            " becomes `Rondo rubo miko sinan esta.` However English puts something, there is one way in Tavi.",
            usage="One sentence or question about coloured shapes, or about who has what, lives, was born, works or came where and when."
            " `zoo/world/tongue.py` holds the whole grammar.\n\n"
            "Its limit: a name that it never saw, such as `Nora`, is at times spelt as another one.",
            data="Pairs made by `zoo/world/tongue.py`, endless and seeded. One scene, one thing at a place and one name in ten are in no"
            " training sentence; every score is about sentences made only of those.",
            scores={f"Held-out sentences ({N_SCORED}) translated rightly, word for word, greedily": share},
            n_parameters=n_parameters,
            architecture="marian, 2 and 2 layers of 96, 4 heads, SentencePiece",
            dtype="float16",
            minutes=minutes,
        ),
    )


if __name__ == "__main__":
    main()
