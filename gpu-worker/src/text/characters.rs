//! Characters as Python's `str` sorts them.

use unicode_general_category::{GeneralCategory, get_general_category};

/// `str.isspace`.
pub(super) fn is_python_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

/// `str.isalnum`: letters and all kinds of numbers, and no marks.
pub(super) fn is_python_alphanumeric(c: char) -> bool {
    use GeneralCategory::{
        DecimalNumber, LetterNumber, LowercaseLetter, ModifierLetter, OtherLetter, OtherNumber,
        TitlecaseLetter, UppercaseLetter,
    };
    if c.is_ascii() {
        return c.is_ascii_alphanumeric();
    }
    matches!(
        get_general_category(c),
        UppercaseLetter
            | LowercaseLetter
            | TitlecaseLetter
            | ModifierLetter
            | OtherLetter
            | DecimalNumber
            | LetterNumber
            | OtherNumber
    )
}

/// The value of a decimal digit of any script; those of a script stand one after the other, from zero on.
pub(super) fn decimal(c: char) -> Option<u32> {
    if c.is_ascii() {
        return c.to_digit(10);
    }
    let is_decimal = |code: u32| {
        char::from_u32(code)
            .is_some_and(|c| get_general_category(c) == GeneralCategory::DecimalNumber)
    };
    let code = u32::from(c);
    let before = (0..).take_while(|back| is_decimal(code - back)).count() as u32;
    before.checked_sub(1).map(|place| place % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_of_every_script_have_their_values() {
        for (c, value) in [
            ('7', Some(7)),
            ('٣', Some(3)),
            ('९', Some(9)),
            ('𝟘', Some(0)),
            ('𝟡', Some(9)),
            ('𝟬', Some(0)),
            ('²', None),
            ('x', None),
            ('五', None),
        ] {
            assert_eq!(decimal(c), value, "{c}");
        }
    }

    #[test]
    fn marks_are_no_letters() {
        assert!(is_python_alphanumeric('²') && is_python_alphanumeric('五'));
        assert!(!is_python_alphanumeric('\u{93e}') && !is_python_alphanumeric('_'));
    }
}
