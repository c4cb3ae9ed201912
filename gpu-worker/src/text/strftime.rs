//! Python's `strftime` in the C locale, for the dates templates write.

use std::fmt::Write;

use time::PrimitiveDateTime;

/// Writes `now`; an error names a directive that is not known.
pub(super) fn format(now: PrimitiveDateTime, format: &str) -> Result<String, String> {
    let mut out = String::new();
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut directive = chars.next().ok_or("the format ends with %")?;
        let padded = directive != '-';
        if !padded {
            directive = chars.next().ok_or("the format ends with %-")?;
        }
        write_directive(&mut out, now, directive, padded)?;
    }
    Ok(out)
}

fn write_directive(
    out: &mut String,
    now: PrimitiveDateTime,
    directive: char,
    padded: bool,
) -> Result<(), String> {
    let (date, time) = (now.date(), now.time());
    let hour_of_twelve = (time.hour() + 11) % 12 + 1;
    let (value, width) = match directive {
        'd' => (u32::from(date.day()), 2),
        'm' => (u32::from(u8::from(date.month())), 2),
        'y' => (date.year().rem_euclid(100).unsigned_abs(), 2),
        'Y' => (date.year().unsigned_abs(), 0),
        'H' => (u32::from(time.hour()), 2),
        'I' => (u32::from(hour_of_twelve), 2),
        'M' => (u32::from(time.minute()), 2),
        'S' => (u32::from(time.second()), 2),
        'f' => (time.microsecond(), 6),
        'j' => (u32::from(date.ordinal()), 3),
        'u' => (u32::from(date.weekday().number_from_monday()), 0),
        'w' => (u32::from(date.weekday().number_days_from_sunday()), 0),
        'B' => return text(out, &date.month().to_string()),
        'b' | 'h' => return text(out, &date.month().to_string()[..3]),
        'A' => return text(out, &date.weekday().to_string()),
        'a' => return text(out, &date.weekday().to_string()[..3]),
        'p' => return text(out, if time.hour() < 12 { "AM" } else { "PM" }),
        '%' => return text(out, "%"),
        'n' => return text(out, "\n"),
        't' => return text(out, "\t"),
        // The reference's clock has no zone.
        'Z' | 'z' => return Ok(()),
        'F' => return text(out, &format(now, "%Y-%m-%d")?),
        'T' | 'X' => return text(out, &format(now, "%H:%M:%S")?),
        'R' => return text(out, &format(now, "%H:%M")?),
        'D' | 'x' => return text(out, &format(now, "%m/%d/%y")?),
        'e' => {
            let _ = write!(out, "{:>2}", date.day());
            return Ok(());
        }
        'c' => {
            let (before, after) = (format(now, "%a %b")?, format(now, "%H:%M:%S %Y")?);
            return text(out, &format!("{before} {:>2} {after}", date.day()));
        }
        other => return Err(format!("strftime_now does not know %{other}")),
    };
    let width = if padded { width } else { 0 };
    // Writing to a string cannot fail.
    let _ = write!(out, "{value:0width$}");
    Ok(())
}

fn text(out: &mut String, text: &str) -> Result<(), String> {
    out.push_str(text);
    Ok(())
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn writes_the_dates_that_templates_ask_for() {
        let now = datetime!(2024-07-04 15:06:09);
        for (directive, expected) in [
            ("%d %b %Y", "04 Jul 2024"),
            ("%A, %B %-d, %Y", "Thursday, July 4, 2024"),
            ("%Y-%m-%d %H:%M:%S", "2024-07-04 15:06:09"),
            ("%I:%M %p %j %y %%", "03:06 PM 186 24 %"),
            ("%e|%F|%T", " 4|2024-07-04|15:06:09"),
        ] {
            assert_eq!(format(now, directive).unwrap(), expected);
        }
    }

    #[test]
    fn an_unknown_directive_is_named() {
        assert_eq!(
            format(datetime!(2024-07-04 0:00), "%Q").unwrap_err(),
            "strftime_now does not know %Q"
        );
        assert!(format(datetime!(2024-07-04 0:00), "%").is_err());
    }
}
