//! How the values of a table's columns compare with each other and with those of the question.
//!
//! Reference: `add_numeric_table_values`, `_get_numeric_column_ranks` and `_get_numeric_relations` in
//! `transformers/models/tapas/tokenization_tapas.py`.

use std::{cmp::Ordering, collections::BTreeMap};

use super::{
    Table,
    numbers::{Value, values},
};

/// Share of a column's cells that must have a value of one kind.
const ENOUGH: f64 = 0.7;

/// What is said of a cell: the place of its value among the different ones of its column, from 1 on, from below and from
/// above; whether some number of the question is equal (1), less (2), greater (4), added up. Zeros of one without a value.
pub(super) type Facts = [u32; 3];

/// The facts of every cell, by columns.
pub(super) fn facts(table: &Table, question: &str) -> Vec<Vec<Facts>> {
    let asked = alike(values(question));
    (0..table.columns.len())
        .map(|column| {
            let cells: Vec<Vec<Value>> =
                table.rows.iter().map(|row| values(&row[column])).collect();
            of_column(&consolidated(&cells), &asked)
        })
        .collect()
}

/// `asked` are the question's values in groups that compare in the same way.
fn of_column(cells: &[Option<Value>], asked: &[Vec<Value>]) -> Vec<Facts> {
    let mut facts = vec![Facts::default(); cells.len()];
    let known: Vec<Value> = cells.iter().flatten().copied().collect();
    if known.is_empty() {
        return facts;
    }
    if let Some(keys) = Keys::of(known.iter()) {
        let mut different: Vec<Key> = known.iter().map(|value| keys.of_value(value)).collect();
        different.sort_by(compare);
        different.dedup_by(|a, b| compare(a, b) == Ordering::Equal);
        for (cell, facts) in cells.iter().zip(&mut facts) {
            let Some(value) = cell else { continue };
            let key = keys.of_value(value);
            let below = different.partition_point(|other| compare(other, &key) == Ordering::Less);
            facts[0] = below as u32 + 1;
            facts[1] = (different.len() - below) as u32;
        }
    }
    for group in asked {
        let Some(keys) = Keys::of(known.iter().chain(group.first())) else { continue };
        let mut of_question: Vec<Key> = group.iter().map(|value| keys.of_value(value)).collect();
        of_question.sort_by(compare);
        for (cell, facts) in cells.iter().zip(&mut facts) {
            let Some(cell) = cell else { continue };
            let cell = keys.of_value(cell);
            let is = |key: Option<&Key>, order| key.is_some_and(|key| compare(key, &cell) == order);
            let equal = of_question.binary_search_by(|key| compare(key, &cell)).is_ok();
            let less = is(of_question.first(), Ordering::Less);
            let greater = is(of_question.last(), Ordering::Greater);
            facts[2] |= u32::from(equal) + 2 * u32::from(less) + 4 * u32::from(greater);
        }
    }
    facts
}

/// Values in groups: numbers, and dates that say the same fields.
fn alike(values: Vec<Value>) -> Vec<Vec<Value>> {
    let mut groups: BTreeMap<Option<[bool; 3]>, Vec<Value>> = BTreeMap::new();
    for value in values {
        let said = match value {
            Value::Number(_) => None,
            Value::Date(date) => Some(date.map(|field| field.is_some())),
        };
        groups.entry(said).or_default().push(value);
    }
    groups.into_values().collect()
}

/// Of each cell the first value of the kind that most cells have; nothing where too few have one.
fn consolidated(cells: &[Vec<Value>]) -> Vec<Option<Value>> {
    let is_date = |value: &&Value| matches!(value, Value::Date(_));
    let first = |values: &[Value], dates: bool| {
        values.iter().find(|value| is_date(value) == dates).copied()
    };
    let count = |dates: bool| cells.iter().filter(|cell| first(cell, dates).is_some()).count();
    let (dates, numbers) = (count(true), count(false));
    let most = dates.max(numbers);
    if most == 0 || (most as f64) < cells.len() as f64 * ENOUGH {
        return vec![None; cells.len()];
    }
    cells.iter().map(|cell| first(cell, dates >= numbers)).collect()
}

/// What values are compared by.
type Key = [f64; 3];

/// How values of one kind become keys: of dates the fields that all of them have.
struct Keys([bool; 3]);

impl Keys {
    /// `None` where the values cannot be compared.
    fn of<'a>(values: impl Iterator<Item = &'a Value>) -> Option<Self> {
        let mut shared = [true; 3];
        let (mut has_dates, mut has_numbers) = (false, false);
        for value in values {
            match value {
                Value::Number(_) => has_numbers = true,
                Value::Date(date) => {
                    has_dates = true;
                    shared
                        .iter_mut()
                        .zip(date)
                        .for_each(|(shared, field)| *shared &= field.is_some());
                }
            }
        }
        (has_dates != has_numbers && shared.contains(&true)).then_some(Self(shared))
    }

    fn of_value(&self, value: &Value) -> Key {
        match value {
            Value::Number(number) => [*number, 0.0, 0.0],
            Value::Date(date) => std::array::from_fn(|at| match date[at] {
                Some(field) if self.0[at] => f64::from(field),
                _ => 0.0,
            }),
        }
    }
}

/// Keys hold no NaN; the two zeros are equal.
fn compare(a: &Key, b: &Key) -> Ordering {
    a.partial_cmp(b).unwrap_or(Ordering::Equal)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(cells: &[&str], question: &str) -> Vec<(u32, u32, u32)> {
        let table = Table {
            columns: vec!["a".into()],
            rows: cells.iter().map(|&cell| vec![cell.into()]).collect(),
        };
        let facts = facts(&table, question).remove(0);
        facts.into_iter().map(Into::into).collect()
    }

    #[test]
    fn equal_numbers_share_a_rank() {
        let found = column(&["87", "53", "87", "6.5"], "more than 53?");
        assert_eq!(found, [(3, 1, 2), (2, 2, 1), (3, 1, 2), (1, 3, 4)]);
    }

    #[test]
    fn a_column_with_too_few_numbers_has_no_ranks() {
        assert_eq!(column(&["1", "2", "x"], "1"), [(0, 0, 0); 3]);
        assert_eq!(column(&["1", "2", "3", "x"], "")[..2], [(1, 3, 0), (2, 2, 0)]);
    }

    #[test]
    fn dates_are_compared_by_what_all_of_them_say() {
        let found = column(&["August 2007", "may 5, 2010", "2007-09-01"], "before may 2010");
        assert_eq!(found, [(1, 3, 4), (3, 1, 1), (2, 2, 4)]);
        // A year is a date here, as most cells are.
        assert_eq!(column(&["1990", "may 1991"], "1990"), [(1, 2, 1), (2, 1, 2)]);
        assert_eq!(column(&["may", "1999"], ""), [(0, 0, 0), (0, 0, 0)]);
    }
}
