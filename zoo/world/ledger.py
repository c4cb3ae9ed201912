"""Tables of who has how many of what, and questions that some of their cells answer."""

from dataclasses import dataclass
from random import Random

from zoo.world.names import DAYS, Names
from zoo.world.vocabulary import COLOURS, SHAPES

# What is done with the cells, by the number that the model has for it.
AGGREGATIONS = ("NONE", "SUM", "AVERAGE", "COUNT")
COLUMNS = ("Shape", "Colour", "Number", "Town", "Day")
LARGEST = 40

# What a cell of the column is asked for by the name of its row.
OF_NAME = {
    "Shape": ("What does {name} have?", "Which shape has {name}?", "What shape does {name} have?"),
    "Colour": ("What colour has {name}?", "Which colour does {name} have?", "In what colour are those of {name}?"),
    "Number": ("How many does {name} have?", "How many has {name}?", "What is the number of {name}?"),
    "Town": ("Where does {name} live?", "In which town does {name} live?", "What is the town of {name}?"),
    "Day": ("When did {name} come?", "On which day did {name} come?", "What is the day of {name}?"),
}
# Whose row has the value.
WHOSE = {
    "Shape": ("Who has a {value}?", "Who owns a {value}?", "Whose are the {value}s?"),
    "Colour": ("Who has something {value}?", "Whose are {value}?", "Who owns the {value} ones?"),
    "Number": ("Who has {value}?", "Who owns {value}?"),
    "Town": ("Who lives in {value}?", "Who is from {value}?"),
    "Day": ("Who came on {value}?", "Who arrived on {value}?"),
}
# How often the value stands in its column.
HOW_OFTEN = {
    "Shape": ("How many people have a {value}?", "How often is there a {value}?"),
    "Colour": ("How many people have something {value}?", "How often is there {value}?"),
    "Town": ("How many people live in {value}?", "How many are from {value}?"),
    "Day": ("How many people came on {value}?", "How many came on {value}?"),
}
MOST = ("Who has the most?", "Who owns the most?", "Who has the largest number?")
LEAST = ("Who has the fewest?", "Who owns the fewest?", "Who has the smallest number?")
SUM = ("How many are there in all?", "How many do they have together?", "What is the sum of all numbers?")
SUM_OF = {
    "Shape": ("How many {value}s are there in all?", "How many {value}s do they have together?"),
    "Colour": ("How many {value} ones are there in all?", "How many {value} ones do they have together?"),
}
AVERAGE = ("How many do they have on average?", "What is the average number?", "What is the mean of the numbers?")


@dataclass(frozen=True)
class Table:
    """Columns and rows; every row has a name of its own, numbers differ."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def column(self, name: str) -> list[str]:
        """The cells of a column from the top."""
        at = self.columns.index(name)
        return [row[at] for row in self.rows]


@dataclass(frozen=True)
class Asked:
    """A question, the cells that answer it as row and column, by rows, and what to do with them."""

    question: str
    cells: tuple[tuple[int, int], ...]
    aggregation: str


def random_table(random: Random, held_out: bool = False) -> Table:
    """Three to six people with three or four columns about them; names and towns are of one side of the split."""
    n_rows = random.randint(3, 6)
    names = Names(held_out)
    people: list[str] = []
    while len(people) < n_rows:
        name = names.person(random)
        if not set(name.split()) & set(" ".join(people).split()):
            people.append(name)
    towns = [names.town(random) for _ in range(max(2, n_rows - 1))]
    # Few values, so that some come twice.
    shapes, colours, days = (random.sample(values, 3) for values in (SHAPES, COLOURS, DAYS))
    values = {
        "Name": people,
        "Shape": [random.choice(shapes) for _ in people],
        "Colour": [random.choice(colours) for _ in people],
        "Number": [str(number) for number in random.sample(range(1, LARGEST), n_rows)],
        "Town": [random.choice(towns) for _ in people],
        "Day": [random.choice(days) for _ in people],
    }
    columns = ["Name", *random.sample(COLUMNS, random.choice((3, 4)))]
    if random.random() < 0.3:
        random.shuffle(columns)
    return Table(tuple(columns), tuple(zip(*(values[column] for column in columns), strict=True)))


def random_asked(random: Random, table: Table) -> Asked:
    """A question about the table."""
    others = [column for column in table.columns if column != "Name"]
    kinds = [of_name, of_name, whose, whose, how_often]
    if "Number" in table.columns:
        kinds += [most_or_least, sum_or_average, sum_of]
    while True:
        asked = random.choice(kinds)(random, table, random.choice(others))
        if asked:
            return asked


def cells(table: Table, rows: list[int], column: str) -> tuple[tuple[int, int], ...]:
    """Those rows of the column."""
    return tuple((row, table.columns.index(column)) for row in rows)


def rows_with(table: Table, column: str, value: str) -> list[int]:
    """The rows that have the value."""
    return [row for row, cell in enumerate(table.column(column)) if cell == value]


def of_name(random: Random, table: Table, column: str) -> Asked:
    """A cell by the name of its row."""
    row = random.randrange(len(table.rows))
    return Asked(random.choice(OF_NAME[column]).format(name=table.column("Name")[row]), cells(table, [row], column), "NONE")


def whose(random: Random, table: Table, column: str) -> Asked:
    """The names of the rows that have a value."""
    value = random.choice(table.column(column))
    return Asked(random.choice(WHOSE[column]).format(value=value), cells(table, rows_with(table, column, value), "Name"), "NONE")


def how_often(random: Random, table: Table, column: str) -> Asked | None:
    """The cells that have a value, counted."""
    if column not in HOW_OFTEN:
        return None
    value = random.choice(table.column(column))
    return Asked(random.choice(HOW_OFTEN[column]).format(value=value), cells(table, rows_with(table, column, value), column), "COUNT")


def most_or_least(random: Random, table: Table, _column: str) -> Asked:
    """Who has the largest or the smallest number."""
    numbers = [int(cell) for cell in table.column("Number")]
    frames, choose = random.choice(((MOST, max), (LEAST, min)))
    return Asked(random.choice(frames), cells(table, [numbers.index(choose(numbers))], "Name"), "NONE")


def sum_or_average(random: Random, table: Table, _column: str) -> Asked:
    """The sum or the average of all numbers."""
    frames, aggregation = random.choice(((SUM, "SUM"), (AVERAGE, "AVERAGE")))
    return Asked(random.choice(frames), cells(table, list(range(len(table.rows))), "Number"), aggregation)


def sum_of(random: Random, table: Table, column: str) -> Asked | None:
    """The sum of the numbers of the rows that have a value."""
    if column not in SUM_OF:
        return None
    value = random.choice(table.column(column))
    return Asked(random.choice(SUM_OF[column]).format(value=value), cells(table, rows_with(table, column, value), "Number"), "SUM")
