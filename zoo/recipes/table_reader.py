"""`zoo/table-reader`: a TAPAS that chooses the cells of a table that answer a question, and says what to do with them;
`gap-filler` with an eye for rows and columns."""

from random import Random

import pandas
import torch
from transformers import BertModel, TapasConfig, TapasForQuestionAnswering, TapasTokenizer

from zoo.card import Card, write_card
from zoo.layout import body_folder, model_folder
from zoo.recipes.optimisation import seed_everything, single_muon, train
from zoo.recipes.reader import BODY, by_length, count
from zoo.world.ledger import AGGREGATIONS, Asked, Table, random_asked, random_table

NAME = "table-reader"
SEED = 78
N_STEPS = 3000
BATCH = 32
# Tables, and questions about each; each is seen a few times.
N_TABLES, N_QUESTIONS = 6000, 4
RATE = 2e-3
MAX_TOKENS = 256
N_SCORED = 500
# Of the token: in the table or not, column, row, chosen before, rank, rank from the end, relation to the question.
TYPES = [2, 16, 32, 2, 32, 32, 10]
IN_TABLE, COLUMN, ROW = range(3)
# A cell is chosen above this probability.
THRESHOLD = 0.5


def held_out_cases(n_cases: int) -> list[dict]:
    """Questions about tables of people and towns that no training table names."""
    random = Random(SEED + 1)
    cases = []
    for _ in range(n_cases):
        table = random_table(random, held_out=True)
        asked = random_asked(random, table)
        cases.append(
            {
                "question": asked.question,
                "table": [list(table.columns), *(list(row) for row in table.rows)],
                "coordinates": [list(cell) for cell in asked.cells],
                "aggregator": asked.aggregation,
            }
        )
    return cases


def frame(rows: list[list[str]]) -> pandas.DataFrame:
    """A table whose first row is the header, as TAPAS's tokenizer takes it."""
    return pandas.DataFrame(rows[1:], columns=rows[0], dtype=str)


def write_tokenizer(folder) -> None:
    """TAPAS's files: the body's pieces, and a token for empty cells."""
    pieces = (body_folder(BODY) / "vocab.txt").read_text() + "[EMPTY]\n"
    (folder / "vocab.txt").write_text(pieces)
    TapasTokenizer(str(folder / "vocab.txt"), do_lower_case=False, model_max_length=MAX_TOKENS).save_pretrained(folder)


@torch.no_grad()
def begin_with_body(model: TapasForQuestionAnswering) -> None:
    """Gives it the body's layers and embeddings; what tells rows and columns apart is yet to be learned."""
    body = BertModel.from_pretrained(body_folder(BODY), dtype=torch.float32, add_pooling_layer=False).state_dict()
    own = model.tapas.state_dict()
    for name, weight in body.items():
        own[name.replace("token_type_embeddings.", "token_type_embeddings_0.")][: len(weight)] = weight


def read_table(tokenizer, table: Table, questions: list[Asked]) -> list[dict[str, torch.Tensor]]:
    """For each question the tokens of the table and the question, which of them are to be chosen, and what for."""
    cells = frame([list(table.columns), *(list(row) for row in table.rows)])
    read = tokenizer(table=cells, queries=[asked.question for asked in questions])
    rows = []
    for at, asked in enumerate(questions):
        row = {name: torch.tensor(values[at]) for name, values in read.items()}
        types = row["token_type_ids"]
        places = [(column - 1, number - 1) if inside else None for inside, column, number in types[:, : ROW + 1].tolist()]
        chosen = {(column, number) for number, column in asked.cells}
        row["labels"] = torch.tensor([int(place in chosen) for place in places])
        row["aggregation_labels"] = torch.tensor(AGGREGATIONS.index(asked.aggregation))
        rows.append(row)
    return rows


def training_rows(tokenizer, random: Random) -> list[dict[str, torch.Tensor]]:
    """Tables with some questions each; the reference's tokenizer takes longer than a step, so that they are read once."""
    rows = []
    for _ in range(N_TABLES):
        table = random_table(random)
        rows += read_table(tokenizer, table, [random_asked(random, table) for _ in range(N_QUESTIONS)])
    return rows


def padded(rows: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """The rows as one batch; the padding is token 0 everywhere."""
    lists = {name: [row[name] for row in rows] for name in rows[0]}
    pad = torch.nn.utils.rnn.pad_sequence
    return {name: pad(values, batch_first=True) if values[0].ndim else torch.stack(values) for name, values in lists.items()}


def answer_of(model, tokenizer, case: dict) -> tuple[list[list[int]], str]:
    """The chosen cells, by rows, and what to do with them."""
    inputs = tokenizer(table=frame(case["table"]), queries=case["question"], return_tensors="pt")
    with torch.inference_mode():
        outputs = model(**inputs)
    cells, aggregations = tokenizer.convert_logits_to_predictions(
        inputs, outputs.logits, outputs.logits_aggregation, cell_classification_threshold=THRESHOLD
    )
    return [list(cell) for cell in sorted(cells[0])], AGGREGATIONS[aggregations[0]]


def main() -> None:
    seed_everything(SEED)
    random = Random(SEED)
    folder = model_folder(NAME)
    write_tokenizer(folder)
    tokenizer = TapasTokenizer.from_pretrained(folder)
    model = TapasForQuestionAnswering(
        TapasConfig(
            vocab_size=len(tokenizer),
            hidden_size=96,
            intermediate_size=192,
            num_hidden_layers=4,
            num_attention_heads=4,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            max_position_embeddings=128,
            type_vocab_sizes=TYPES,
            num_aggregation_labels=len(AGGREGATIONS),
            aggregation_labels=dict(enumerate(AGGREGATIONS)),
            no_aggregation_label_index=0,
            use_answer_as_supervision=False,
            max_num_rows=TYPES[ROW],
            max_num_columns=TYPES[COLUMN],
        )
    )
    begin_with_body(model)
    n_parameters = count(model)
    print(f"{n_parameters} parameters, {len(tokenizer)} tokens")
    rows = training_rows(tokenizer, random)
    batches = by_length(lambda: random.choice(rows), random, BATCH, lambda row: len(row["input_ids"]))
    minutes = train(model, lambda _step: model(**padded(next(batches))).loss, N_STEPS, single_muon(model, RATE))
    model.half().save_pretrained(folder)
    write_scored_card(folder, n_parameters, minutes)


def write_scored_card(folder, n_parameters: int, minutes: float) -> None:
    """Scores what was saved and writes the card."""
    model = TapasForQuestionAnswering.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = TapasTokenizer.from_pretrained(folder)
    cases = held_out_cases(N_SCORED)
    wrong = []
    for case in cases:
        found = answer_of(model, tokenizer, case)
        if found != (case["coordinates"], case["aggregator"]):
            wrong.append((case["question"], case["coordinates"], case["aggregator"], found))
    share = f"{1 - len(wrong) / len(cases):.1%}"
    print("held-out", share, *wrong[:15], sep="\n")
    write_card(
        folder,
        Card(
            name=NAME,
            task="table-question-answering",
            library="transformers",
            tags=("tapas",),
            summary="Answers a question about a table of who has how many of what: it chooses cells and says whether to add, average or"
            " count them. `How many circles are there in all?` is `SUM` over the numbers of the rows with circles.",
            usage="Tables with a column `Name` and some of `Shape`, `Colour`, `Number`, `Town` and `Day`, three to six rows; the questions of"
            " `zoo/world/ledger.py`.\n\n"
            "Its limit: other columns, and tables much longer, it does not understand.",
            data="Tables and questions made by `zoo/world/ledger.py`, endless and seeded. One name in ten, of people and of towns, is in"
            " no training table; every score is about tables with only those.",
            scores={f"Held-out questions ({N_SCORED}) answered with exactly the right cells and aggregation": share},
            n_parameters=n_parameters,
            architecture="tapas, 4 layers of 96, 4 heads, WordPiece with capitals",
            dtype="float16",
            minutes=minutes,
        ),
    )


if __name__ == "__main__":
    main()
