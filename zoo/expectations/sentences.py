"""Expected values of `zoo/sentences`: ids, sentence vectors in one padded batch, token vectors, similarities."""

import torch
from sentence_transformers import SentenceTransformer

from zoo.expectations.record import rounded, write_cases, write_parity
from zoo.layout import expected_folder, model_folder
from zoo.recipes.sentences import NAME, held_out_triples

N_CASES = 60
SENTENCES = (
    "a small red circle on the left on a plain ground",
    "On the left side there is a tiny crimson disc on an even background.",
    "a small red circle on the right on a plain ground",
    "There is a large blue star at the top and a small green square at the bottom in front of dots.",
    "Down low there is a little emerald box, up high there is a huge azure star, on a dotted ground.",
    "star",
    "Zoë's Café, 42 — naïve?!",
    "The picture shows a big violet shape with three sides in the upper part, and in the middle a little golden"
    " shape with four equal sides, in front of stripes, and then it says much more than the model can read at"
    " once, so that what comes after the sixty-fourth token is cut off and must not change the vector at all.",
)
QUERY = "small red circle on the left"


def main() -> None:
    torch.set_num_threads(1)
    model = SentenceTransformer(str(model_folder(NAME)), device="cpu", model_kwargs={"attn_implementation": "eager"})
    assert model[0].auto_model.config._attn_implementation == "eager"
    vectors = model.encode(list(SENTENCES), convert_to_tensor=True, batch_size=len(SENTENCES))
    alone = torch.stack([model.encode(sentence, convert_to_tensor=True) for sentence in SENTENCES])
    assert (vectors - alone).abs().max() < 1e-6, "a batch differs from its rows"
    tokenizer = model.tokenizer
    sentences = [
        {"text": text, "ids": tokenizer(text, truncation=True, max_length=model.max_seq_length)["input_ids"], "vector": rounded(vector)}
        for text, vector in zip(SENTENCES, vectors, strict=True)
    ]
    token_vectors = model.encode(SENTENCES[0], output_value="token_embeddings", convert_to_tensor=True)
    query_vector = model.encode_query(QUERY, convert_to_tensor=True)
    folder = expected_folder(NAME)
    write_parity(
        folder,
        f"zoo/{NAME}",
        sentences=sentences,
        similarities=rounded(vectors @ vectors.T),
        token_vectors={"text": SENTENCES[0], "vectors": rounded(token_vectors)},
        query={
            "text": QUERY,
            "prompt_name": "query",
            "vector": rounded(query_vector),
            "similarities": rounded(vectors @ query_vector),
        },
    )
    write_cases(
        folder,
        f"zoo/{NAME}",
        "the vector of `anchor` has a larger cosine with that of `paraphrase` than with that of `other`;"
        " triples where two things have exchanged an attribute are left out, the model cannot tell those (see its card)",
        [triple for triple in held_out_triples(2 * N_CASES) if triple["difference"] != "exchange"][:N_CASES],
    )


if __name__ == "__main__":
    main()
