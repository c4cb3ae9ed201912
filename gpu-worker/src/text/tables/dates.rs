//! Dates as TAPAS reads them in text: whole, or a year, a month, or two of the three.
//!
//! Reference: `_parse_date` in `transformers/models/tapas/tokenization_tapas.py`, and Python's `datetime.strptime`.

use crate::text::characters::decimal;

/// Of years, only these are read.
const YEARS: std::ops::RangeInclusive<u32> = 1700..=2016;

/// The year in which a date without one is looked at.
const DEFAULT_YEAR: u32 = 1900;

const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];
const WEEKDAYS: [&str; 7] =
    ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];

/// Year, month and day, as far as they are said.
pub(super) type Date = [Option<u32>; 3];

/// A part of a pattern.
#[derive(Clone, Copy)]
enum Part {
    Year,
    /// A month's number.
    Month,
    /// Its whole name.
    Name,
    /// The first three letters of its name.
    Short,
    Day,
    Weekday,
    Text(&'static str),
}

use Part::{Day, Month, Name, Short, Text, Weekday, Year};

/// No text fits two of them that would read it otherwise.
const PATTERNS: [&[Part]; 19] = [
    &[Name],
    &[Year],
    &[Year, Text("s")],
    &[Short, Text(" "), Year],
    &[Name, Text(" "), Year],
    &[Name, Text(" "), Day],
    &[Short, Text(" "), Day],
    &[Day, Text(" "), Short],
    &[Day, Text(" "), Name],
    &[Name, Text(" "), Day, Text(", "), Year],
    &[Day, Text(" "), Name, Text(" "), Year],
    &[Month, Text("-"), Day, Text("-"), Year],
    &[Year, Text("-"), Month, Text("-"), Day],
    &[Year, Text("-"), Month],
    &[Day, Text(" "), Short, Text(" "), Year],
    &[Short, Text(" "), Day, Text(", "), Year],
    &[Day, Text("."), Month, Text("."), Year],
    &[Weekday, Text(", "), Short, Text(" "), Day],
    &[Weekday, Text(", "), Name, Text(" "), Day],
];

/// Reads a text that is a date and nothing else, in lower case and with single spaces.
pub(super) fn date(text: &str) -> Option<Date> {
    PATTERNS.iter().find_map(|pattern| read(pattern, text))
}

fn read(pattern: &[Part], text: &str) -> Option<Date> {
    let [mut year, mut month, mut day] = [None; 3];
    let mut rest = text;
    for part in pattern {
        rest = match part {
            Text(literal) => rest.strip_prefix(literal)?,
            Weekday => WEEKDAYS.iter().find_map(|name| rest.strip_prefix(name))?,
            Name | Short => {
                let spelled =
                    |name: &'static str| if matches!(part, Short) { &name[..3] } else { name };
                let named = MONTHS.iter().zip(1..);
                let (number, rest) = named
                    .filter_map(|(name, number)| Some((number, rest.strip_prefix(spelled(name))?)))
                    .next()?;
                month = Some(number);
                rest
            }
            Year | Month | Day => {
                let digits = rest.chars().take_while(|&c| decimal(c).is_some()).count();
                let end = rest.char_indices().nth(digits).map_or(rest.len(), |(at, _)| at);
                let (number, rest) = rest.split_at(end);
                match part {
                    Year => year = Some(number_of(number).filter(|_| digits == 4)?),
                    Month => month = Some(month_of(number)?),
                    _ => day = Some(day_of(number)?),
                }
                rest
            }
        };
    }
    let is_a_date = rest.is_empty()
        && YEARS.contains(&year.unwrap_or(DEFAULT_YEAR))
        && day.unwrap_or(1) <= days(year.unwrap_or(DEFAULT_YEAR), month.unwrap_or(1));
    is_a_date.then_some([year, month, day])
}

fn number_of(digits: &str) -> Option<u32> {
    digits.chars().try_fold(0_u32, |sum, c| Some(sum.checked_mul(10)? + decimal(c)?))
}

/// 1 to 12 in plain digits, perhaps with a zero before.
fn month_of(digits: &str) -> Option<u32> {
    let number = number_of(digits)?;
    (digits.is_ascii() && digits.len() <= 2 && (1..=12).contains(&number)).then_some(number)
}

/// 1 to 31; only the second digit of 10 to 29 may be of another script.
fn day_of(digits: &str) -> Option<u32> {
    let number = number_of(digits)?;
    let is_spelled = match digits.as_bytes() {
        [b'1'..=b'9'] | [b'0', b'1'..=b'9'] | [b'3', b'0' | b'1'] => true,
        [b'1' | b'2', ..] => digits.chars().count() == 2,
        _ => false,
    };
    is_spelled.then_some(number)
}

fn days(year: u32, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => {
            29
        }
        2 => 28,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_as_far_as_they_are_said() {
        for (text, expected) in [
            ("may", Some([None, Some(5), None])),
            ("jan", None),
            ("1999", Some([Some(1999), None, None])),
            ("1990s", Some([Some(1990), None, None])),
            ("2020", None),
            ("sep 2001", Some([Some(2001), Some(9), None])),
            ("february 29", None),
            ("29 february 2000", Some([Some(2000), Some(2), Some(29)])),
            ("february 29, 1900", None),
            ("may 32", None),
            ("1 march", Some([None, Some(3), Some(1)])),
            ("12-31-1999", Some([Some(1999), Some(12), Some(31)])),
            ("13-31-1999", None),
            ("1999-4-31", None),
            ("2008-12", Some([Some(2008), Some(12), None])),
            ("05.06.2007", Some([Some(2007), Some(6), Some(5)])),
            ("monday, jan 05", Some([None, Some(1), Some(5)])),
            ("monday, january 5", Some([None, Some(1), Some(5)])),
            ("noday, january 5", None),
            ("mayor 5", None),
            ("١٩٩٩", Some([Some(1999), None, None])),
            ("2٣ may", Some([None, Some(5), Some(23)])),
            ("٢3 may", None),
        ] {
            assert_eq!(date(text), expected, "{text}");
        }
    }
}
