"""`zoo/sentences`: a BERT whose sentence vectors are near when the sentences speak of the same things."""

from random import Random

import torch
from sentence_transformers import SentenceTransformer
from transformers import AutoTokenizer, BertConfig, BertModel

from zoo.card import Card, write_card
from zoo.layout import model_folder
from zoo.recipes.optimisation import muon, seed_everything, train
from zoo.recipes.word_pieces import write_json, write_word_pieces
from zoo.world.caption import paraphrase, query
from zoo.world.scene import Scene, neighbour, random_scene

NAME = "sentences"
SEED = 40
N_STEPS = 1000
BATCH = 64
TEMPERATURE = 0.06
MAX_TOKENS = 64
DIM = 96
N_SCORED = 1000
PROMPTS = {"query": "query: ", "document": ""}


def told_scene(random: Random) -> Scene:
    """A scene with one or two things; in a third of them places and ground are not spoken of."""
    scene = random_scene(random, random.choice((1, 2)))
    return scene.without_surroundings() if random.random() < 0.35 else scene


def scene_where(wanted, draw_scene) -> Scene:
    """The first drawn scene that is wanted."""
    while True:
        scene = draw_scene()
        if wanted(scene):
            return scene


def training_scene(random: Random) -> Scene:
    """A scene that is not held out."""
    return scene_where(lambda scene: not scene.is_held_out(), lambda: told_scene(random))


def training_triple(random: Random) -> tuple[Scene, str, str, str]:
    """A scene, two sentences about it (the first may be a search), and one about a scene that differs in one thing."""
    scene = training_scene(random)
    other = scene_where(lambda other: not other.is_held_out(), lambda: neighbour(scene, random))
    anchor = PROMPTS["query"] + query(scene, random) if random.random() < 0.3 else paraphrase(scene, random)
    return scene, anchor, paraphrase(scene, random), paraphrase(other, random)


def difference(scene: Scene, other: Scene) -> str:
    """`exchange` if two things swapped a value and all else is the same, else `attribute`; for neighbours."""
    values = [sorted(value for thing in told.things for value in vars(thing).values()) for told in (scene, other)]
    return "exchange" if values[0] == values[1] and scene.ground == other.ground else "attribute"


def held_out_triples(n_triples: int) -> list[dict]:
    """Anchor, paraphrase and another sentence; every second other is of a neighbour, the rest of any scene."""
    random = Random(SEED + 1)
    triples = []
    while len(triples) < n_triples:
        scene = scene_where(Scene.is_held_out, lambda: told_scene(random))
        if len(triples) % 2 == 0:
            other = neighbour(scene, random)
            kind = difference(scene, other)
        else:
            other = scene_where(lambda other: other.key() != scene.key(), lambda: told_scene(random))
            kind = "scene"
        anchor, same = paraphrase(scene, random), paraphrase(scene, random)
        if anchor != same:
            triples.append({"anchor": anchor, "paraphrase": same, "other": paraphrase(other, random), "difference": kind})
    return triples


def write_tokenizer(folder, random: Random) -> None:
    """A lower-casing WordPiece tokenizer of the training sentences."""
    sentences = [text for _ in range(4000) for text in training_triple(random)[1:]]
    write_word_pieces(folder, sentences, n_pieces=600, lowercase=True, max_tokens=MAX_TOKENS)


def write_sentence_modules(folder) -> None:
    """The files by which sentence-transformers knows that vectors are means of token vectors, of length one."""
    modules = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    write_json(
        folder / "modules.json",
        [
            {"idx": idx, "name": str(idx), "path": path, "type": f"sentence_transformers.models.{kind}"}
            for idx, (path, kind) in enumerate(modules)
        ],
    )
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": MAX_TOKENS, "do_lower_case": False})
    write_json(
        folder / "config_sentence_transformers.json",
        {"prompts": PROMPTS, "default_prompt_name": None, "similarity_fn_name": "cosine"},
    )
    (folder / "1_Pooling").mkdir(exist_ok=True)
    write_json(
        folder / "1_Pooling" / "config.json",
        {
            "word_embedding_dimension": DIM,
            "pooling_mode_cls_token": False,
            "pooling_mode_mean_tokens": True,
            "pooling_mode_max_tokens": False,
            "pooling_mode_mean_sqrt_len_tokens": False,
            "pooling_mode_weightedmean_tokens": False,
            "pooling_mode_lasttoken": False,
            "include_prompt": True,
        },
    )


def embed(model: BertModel, tokenizer, texts: list[str]) -> torch.Tensor:
    """`[n, dim]` means of token vectors, of length one."""
    batch = tokenizer(texts, padding=True, truncation=True, max_length=MAX_TOKENS, return_tensors="pt")
    hidden = model(**batch).last_hidden_state
    mask = batch["attention_mask"].unsqueeze(-1)
    return torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=-1)


def contrastive_loss(model: BertModel, tokenizer, random: Random) -> torch.Tensor:
    """Each anchor must find its paraphrase among those of all scenes of the batch and their neighbours, and back."""
    scenes, anchors, same, others = zip(*(training_triple(random) for _ in range(BATCH)), strict=True)
    vectors = embed(model, tokenizer, [*anchors, *same, *others])
    anchor_vectors, same_vectors, other_vectors = vectors.split(BATCH)
    keys = [scene.key() for scene in scenes]
    twins = torch.tensor([[i != j and keys[i] == keys[j] for j in range(BATCH)] for i in range(BATCH)])
    target = torch.arange(BATCH)
    forth = (anchor_vectors @ same_vectors.T / TEMPERATURE).masked_fill(twins, -torch.inf)
    hard = anchor_vectors @ other_vectors.T / TEMPERATURE
    hard_back = (same_vectors * other_vectors).sum(-1, keepdim=True) / TEMPERATURE
    cross_entropy = torch.nn.functional.cross_entropy
    # Another scene's neighbour can be this very scene by chance; only the own neighbour is sure to differ.
    own_hard = hard.diagonal().unsqueeze(1)
    return cross_entropy(torch.cat([forth, own_hard], 1), target) + cross_entropy(torch.cat([forth.T, hard_back], 1), target)


def score(model: SentenceTransformer, triples: list[dict]) -> dict[str, tuple[int, int]]:
    """For each kind of difference, how many paraphrases are nearer than the other sentence, of how many."""
    vectors = {key: torch.from_numpy(model.encode([triple[key] for triple in triples])) for key in ("anchor", "paraphrase", "other")}
    nearer = (vectors["anchor"] * vectors["paraphrase"]).sum(-1) > (vectors["anchor"] * vectors["other"]).sum(-1)
    results = {}
    for kind in ("scene", "attribute", "exchange"):
        of_kind = [right for right, triple in zip(nearer.tolist(), triples, strict=True) if triple["difference"] == kind]
        results[kind] = (sum(of_kind), len(of_kind))
    return results


def main() -> None:
    seed_everything(SEED)
    random = Random(SEED)
    folder = model_folder(NAME)
    write_tokenizer(folder, random)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = BertModel(
        BertConfig(
            vocab_size=len(tokenizer),
            hidden_size=DIM,
            intermediate_size=192,
            num_hidden_layers=3,
            num_attention_heads=4,
            max_position_embeddings=MAX_TOKENS,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        )
    )
    n_parameters = sum(weight.numel() for weight in model.parameters())
    print(f"{n_parameters} parameters, {len(tokenizer)} tokens")
    minutes = train(model, lambda _step: contrastive_loss(model, tokenizer, random), N_STEPS, muon(model, 2e-3))
    model.save_pretrained(folder)
    write_sentence_modules(folder)

    write_scored_card(folder, n_parameters, minutes)


def write_scored_card(folder, n_parameters: int, minutes: float) -> None:
    """Scores what was saved and writes the card."""
    results = score(SentenceTransformer(str(folder), device="cpu"), held_out_triples(N_SCORED))
    print(results)
    share = {kind: f"{n_right / n_all:.1%} of {n_all}" for kind, (n_right, n_all) in results.items()}
    n_right = sum(n_right for n_right, _ in results.values())
    write_card(
        folder,
        Card(
            name=NAME,
            task="sentence-similarity",
            library="sentence-transformers",
            tags=("bert", "feature-extraction", "sentence-similarity"),
            summary="Turns a sentence about coloured shapes into a vector of 96 numbers. Two sentences are near when they"
            " speak of the same things, whatever their words: `a tiny crimson disc` and `a small red circle`.",
            usage="Vectors are means over tokens, of length one; compare by cosine. A search may begin with the prompt `query: `.\n\n"
            "Its limit: who has which attribute. A red star beside a blue circle and a blue star beside a red circle are nearly"
            " the same to it.",
            data="Captions and paraphrases made by `zoo/world/caption.py`, endless and seeded."
            " One scene in ten (by a hash of what it shows) is in no training sentence; every score is about those.",
            scores={
                f"Held-out triples ({N_SCORED}) with the paraphrase nearer than the other sentence": f"{n_right / N_SCORED:.1%}",
                "Where the other tells of any other scene": share["scene"],
                "Where it differs in one attribute": share["attribute"],
                "Where two things have exchanged one": share["exchange"],
            },
            n_parameters=n_parameters,
            architecture="bert, 3 layers of 96, 4 heads, WordPiece, mean pooling, normalised",
            dtype="float32",
            minutes=minutes,
        ),
    )


if __name__ == "__main__":
    main()
