//! Numbers and dates in a text, the longest that can be read there.
//!
//! Reference: `parse_text` in `transformers/models/tapas/tokenization_tapas.py`.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Range,
};

use super::dates::{self, Date};
use crate::text::characters::{decimal, is_python_alphanumeric, is_python_space};

/// What a part of a text stands for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value {
    /// Never NaN nor positive infinity.
    Number(f64),
    Date(Date),
}

const CARDINALS: [&str; 13] = [
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
    "eleven", "twelve",
];
const ORDINALS: [&str; 13] = [
    "zeroth", "first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth",
    "tenth", "eleventh", "twelfth",
];
const ORDINAL_ENDINGS: [&str; 4] = ["st", "nd", "rd", "th"];

/// Most words of a date.
const DATE_WORDS: usize = 5;

/// More characters than the longest date has, a Wednesday in September.
const DATE_LENGTH: usize = 24;

/// The values of a text in order; one part of it may be both a number and a date.
pub(super) fn values(text: &str) -> Vec<Value> {
    let text = Text::new(&normalized(text));
    let part = |span: &Range<usize>| text.chars[span.clone()].iter().collect::<String>();
    let mut found: HashMap<Range<usize>, Vec<Value>> = HashMap::new();
    for span in text.numbers() {
        if let Some(number) = number(&part(&span)) {
            found.entry(span).or_default().push(Value::Number(number));
        }
    }
    for span in text.spans(1) {
        if found.contains_key(&span) {
            continue;
        }
        let word = part(&span);
        let named = |names: &[&str]| names.iter().position(|&name| name == word);
        let numbers = [
            number(&word),
            named(&CARDINALS).map(|n| n as f64),
            named(&ORDINALS).map(|n| n as f64),
        ];
        for number in numbers.into_iter().flatten() {
            found.entry(span.clone()).or_default().push(Value::Number(number));
        }
    }
    for span in text.spans(DATE_WORDS) {
        if text.may_be_a_date(&span)
            && let Some(date) = dates::date(&part(&span))
        {
            found.entry(span).or_default().push(Value::Date(date));
        }
    }
    let mut found: Vec<(Range<usize>, Vec<Value>)> = found.into_iter().collect();
    found.sort_by_key(|(span, _)| (usize::MAX - span.len(), span.start));
    // By where they start. None holds another, so their ends rise with their starts.
    let mut longest: BTreeMap<usize, (usize, Vec<Value>)> = BTreeMap::new();
    for (span, values) in found {
        let before = longest.range(..=span.start).next_back();
        if before.is_none_or(|(_, (end, _))| *end < span.end) {
            longest.insert(span.start, (span.end, values));
        }
    }
    longest.into_values().flat_map(|(_, values)| values).collect()
}

/// In lower case, with single spaces.
fn normalized(text: &str) -> String {
    let lower = text.to_lowercase();
    let words = lower.split(is_python_space).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ")
}

/// Characters, each looked up once.
struct Text {
    chars: Vec<char>,
    /// Letters and numbers.
    words: Vec<bool>,
    digits: Vec<bool>,
}

impl Text {
    fn new(text: &str) -> Self {
        let chars: Vec<char> = text.chars().collect();
        Self {
            words: chars.iter().map(|&c| is_python_alphanumeric(c)).collect(),
            digits: chars.iter().map(|&c| decimal(c).is_some()).collect(),
            chars,
        }
    }

    /// Numbers in digits, with groups of three and a sign where white space or nothing is before it. The white space is
    /// part of them.
    fn numbers(&self) -> Vec<Range<usize>> {
        let is_digit = |at: usize| self.digits.get(at) == Some(&true);
        let is = |at: usize, c: char| self.chars.get(at) == Some(&c);
        let digits_end = |from: usize| (from..).find(|&at| !is_digit(at)).unwrap_or(from);
        let is_sign = |at: usize| is(at, '+') || is(at, '-');
        let mut found = Vec::new();
        let mut at = 0;
        while at < self.chars.len() {
            let signed = if at == 0 && is_sign(0) {
                1
            } else if is_python_space(self.chars[at]) && is_sign(at + 1) {
                at + 2
            } else {
                at
            };
            let end = if is(signed, '.') && is_digit(signed + 1) {
                digits_end(signed + 1)
            } else if is_digit(signed) {
                let mut end = digits_end(signed);
                while is(end, ',') && (1..=3).all(|next| is_digit(end + next)) {
                    end += 4;
                }
                if is(end, '.') { digits_end(end + 1) } else { end }
            } else {
                at += 1;
                continue;
            };
            found.push(at..end);
            at = end;
        }
        found
    }

    /// Runs of at most `n_words` words, cut at whatever is neither letter nor number.
    fn spans(&self, n_words: usize) -> Vec<Range<usize>> {
        let is_word = |at: usize| self.words.get(at) == Some(&true);
        let mut found = Vec::new();
        let mut starts: Vec<usize> = Vec::new();
        for at in (0..self.chars.len()).filter(|&at| is_word(at)) {
            if at == 0 || !is_word(at - 1) {
                starts.push(at);
            }
            if !is_word(at + 1) {
                let from = starts.len().saturating_sub(n_words);
                found.extend(starts[from..].iter().map(|&start| start..at + 1));
            }
        }
        found
    }

    fn may_be_a_date(&self, span: &Range<usize>) -> bool {
        let mut chars = self.chars[span.clone()].iter().zip(&self.digits[span.clone()]);
        span.len() < DATE_LENGTH && chars.all(|(c, is_digit)| c.is_ascii() || *is_digit)
    }
}

/// As Python's `float`, with an ending as in `2nd` and without commas.
fn number(text: &str) -> Option<f64> {
    let text = ORDINAL_ENDINGS.iter().find_map(|ending| text.strip_suffix(ending)).unwrap_or(text);
    let plain = |c: char| match decimal(c) {
        Some(digit) => char::from_digit(digit, 10),
        None => Some(c),
    };
    let text: String = text.chars().filter(|&c| c != ',').filter_map(plain).collect();
    let value: f64 = text.trim_matches(is_python_space).parse().ok()?;
    (!value.is_nan() && value != f64::INFINITY).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(text: &str) -> Vec<f64> {
        let number = |value| match value {
            Value::Number(number) => Some(number),
            Value::Date(_) => None,
        };
        values(text).into_iter().filter_map(number).collect()
    }

    #[test]
    fn numbers_are_read_in_digits_and_words() {
        for (text, expected) in [
            ("1,234.5 and .5", &[1234.5, 0.5][..]),
            ("1,2345", &[1234.0, 2345.0]),
            ("1,234.5.6", &[1234.5, 0.6]),
            ("-3 but 4-5", &[-3.0, 4.0, 5.0]),
            ("a -7", &[-7.0]),
            ("TWO of the 3rd, second", &[2.0, 3.0, 2.0]),
            ("1e3", &[1000.0]),
            ("inf nan infinity st", &[]),
            ("12 men, 5.", &[12.0, 5.0]),
            ("٣٤", &[34.0]),
            ("x²", &[]),
            ("", &[]),
        ] {
            assert_eq!(numbers(text), expected, "{text}");
        }
    }

    #[test]
    fn a_year_is_a_number_and_a_date() {
        let date = Value::Date([Some(1999), None, None]);
        assert_eq!(values("in 1999"), [Value::Number(1999.0), date]);
    }

    #[test]
    fn a_text_of_many_numbers_is_read_in_no_time() {
        let text: String = (0..100_000).map(|number| format!("{number}\u{200b}")).collect();
        assert_eq!(values(&text).len(), 100_000 + (1700..=2016).count());
    }

    #[test]
    fn the_longest_reading_counts() {
        let date = Value::Date([Some(1912), Some(6), Some(23)]);
        assert_eq!(values("Born June 23,  1912 there"), [date]);
    }
}
