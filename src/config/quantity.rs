//! Durations (`200ms`, `2s`, `1m`, `1h`, `7d`) and sizes (`64KiB`, `1MiB`, plain bytes) as text.

use std::time::Duration;

/// Why text is not a duration or a size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QuantityError {
    /// Not a whole number in front.
    #[error("does not start with a whole number")]
    NoNumber,
    /// A number alone says nothing about a duration: seconds and milliseconds are both common.
    #[error("has no unit")]
    NoUnit,
    /// A unit that is not known.
    #[error("has an unknown unit")]
    UnknownUnit,
    /// More than fits.
    #[error("is too large")]
    TooLarge,
}

/// A day is 24 hours, whatever clocks on walls do.
const DURATION_UNITS: &[(&str, u64)] =
    &[("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// Only powers of 1024: `KB` means 1000 to some and 1024 to others.
const SIZE_UNITS: &[(&str, u64)] = &[("B", 1), ("KiB", 1_024), ("MiB", 1_048_576)];

/// Parses a duration of whole milliseconds, seconds, minutes, hours or days.
///
/// # Errors
/// When there is no whole number, no unit, an unknown unit, or more milliseconds than 64 bits hold.
pub fn parse_duration(text: &str) -> Result<Duration, QuantityError> {
    let (number, unit) = split(text)?;
    if unit.is_empty() {
        return Err(QuantityError::NoUnit);
    }
    scaled(number, unit, DURATION_UNITS).map(Duration::from_millis)
}

/// Parses a size; a number without a unit is bytes.
///
/// # Errors
/// When there is no whole number, an unknown unit, or more bytes than the machine can address.
pub fn parse_size(text: &str) -> Result<usize, QuantityError> {
    let (number, unit) = split(text)?;
    let bytes = scaled(number, if unit.is_empty() { "B" } else { unit }, SIZE_UNITS)?;
    usize::try_from(bytes).map_err(|_| QuantityError::TooLarge)
}

/// The shortest exact text of a duration; parts of a millisecond are cut off.
pub fn format_duration(duration: Duration) -> String {
    let ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if ms == 0 { "0s".to_owned() } else { format_unit(ms, DURATION_UNITS) }
}

/// The shortest exact text of a size.
pub fn format_size(bytes: usize) -> String {
    let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
    if bytes == 0 { "0B".to_owned() } else { format_unit(bytes, SIZE_UNITS) }
}

fn split(text: &str) -> Result<(u64, &str), QuantityError> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    if number.is_empty() {
        return Err(QuantityError::NoNumber);
    }
    // Only digits are left, so that the one possible failure is the size.
    Ok((number.parse().map_err(|_| QuantityError::TooLarge)?, unit))
}

fn scaled(number: u64, unit: &str, units: &[(&str, u64)]) -> Result<u64, QuantityError> {
    let (_, factor) =
        units.iter().find(|(name, _)| *name == unit).ok_or(QuantityError::UnknownUnit)?;
    number.checked_mul(*factor).ok_or(QuantityError::TooLarge)
}

fn format_unit(amount: u64, units: &[(&str, u64)]) -> String {
    let largest = units.iter().rev().find(|(_, factor)| amount.is_multiple_of(*factor));
    let (name, factor) = largest.unwrap_or(&units[0]);
    format!("{}{name}", amount / factor)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_take_five_units() {
        assert_eq!(parse_duration("200ms"), Ok(Duration::from_millis(200)));
        assert_eq!(parse_duration("2s"), Ok(Duration::from_secs(2)));
        assert_eq!(parse_duration("1m"), Ok(Duration::from_secs(60)));
        assert_eq!(parse_duration("3h"), Ok(Duration::from_secs(10_800)));
        assert_eq!(parse_duration("7d"), Ok(Duration::from_secs(604_800)));
        assert_eq!(parse_duration("0s"), Ok(Duration::ZERO));
    }

    #[test]
    fn a_duration_without_a_unit_is_refused() {
        assert_eq!(parse_duration("2"), Err(QuantityError::NoUnit));
        assert_eq!(parse_duration("2 s"), Err(QuantityError::UnknownUnit));
        assert_eq!(parse_duration("1.5s"), Err(QuantityError::UnknownUnit));
        assert_eq!(parse_duration("-1s"), Err(QuantityError::NoNumber));
        assert_eq!(parse_duration(""), Err(QuantityError::NoNumber));
        assert_eq!(parse_duration("18446744073709551615h"), Err(QuantityError::TooLarge));
    }

    #[test]
    fn sizes_take_bytes_and_powers_of_1024() {
        assert_eq!(parse_size("65536"), Ok(65_536));
        assert_eq!(parse_size("65536B"), Ok(65_536));
        assert_eq!(parse_size("64KiB"), Ok(65_536));
        assert_eq!(parse_size("1MiB"), Ok(1_048_576));
        assert_eq!(parse_size("64KB"), Err(QuantityError::UnknownUnit));
        assert_eq!(parse_size("99999999999999999999"), Err(QuantityError::TooLarge));
    }

    proptest! {
        #[test]
        fn a_duration_survives_its_text(ms in 0..u64::MAX) {
            let duration = Duration::from_millis(ms);
            prop_assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
        }

        #[test]
        fn a_size_survives_its_text(bytes: usize) {
            prop_assert_eq!(parse_size(&format_size(bytes)), Ok(bytes));
        }

        #[test]
        fn no_text_makes_a_parser_panic(text in "\\PC{0,24}") {
            let _ = parse_duration(&text);
            let _ = parse_size(&text);
        }

        #[test]
        fn whole_numbers_scale_by_their_unit(number in 0u64..1_000_000, unit in 0usize..5) {
            let (name, factor) = DURATION_UNITS[unit];
            let parsed = parse_duration(&format!("{number}{name}"));
            prop_assert_eq!(parsed, Ok(Duration::from_millis(number * factor)));
        }
    }
}
