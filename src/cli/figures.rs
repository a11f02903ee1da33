//! Numbers for people: counts, ages, sizes.

/// `1,234`, with `+` when there are more.
pub(super) fn count(n: i64, more: bool) -> String {
    let digits = n.unsigned_abs().to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    format!("{}{text}{}", if n < 0 { "-" } else { "" }, if more { "+" } else { "" })
}

/// `12 ms`, `3.2 s`, `5 min`, `3.0 h`, `9.5 d`; `-` when it is not known.
pub(super) fn age(seconds: Option<f64>) -> String {
    match seconds {
        None => "-".to_owned(),
        Some(s) if s < 1.0 => format!("{:.0} ms", s * 1_000.0),
        Some(s) if s < 100.0 => format!("{s:.1} s"),
        Some(s) if s < 6_000.0 => format!("{:.0} min", s / 60.0),
        Some(s) if s < 172_800.0 => format!("{:.1} h", s / 3_600.0),
        Some(s) => format!("{:.1} d", s / 86_400.0),
    }
}

/// `12.3 MiB`.
pub(super) fn bytes(n: i64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "one digit behind the point is shown")]
    let mut value = n as f64;
    let mut unit = "B";
    for next in ["KiB", "MiB", "GiB", "TiB"] {
        if value < 1_024.0 {
            break;
        }
        (value, unit) = (value / 1_024.0, next);
    }
    if unit == "B" { format!("{n} B") } else { format!("{value:.1} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_exact_enough() {
        assert_eq!(
            [0, 999, 1_000, -1_234_567].map(|n| count(n, false)),
            ["0", "999", "1,000", "-1,234,567"]
        );
        assert_eq!(count(10_000, true), "10,000+");
        let ages = [0.012, 3.21, 300.0, 7_200.0, 864_000.0].map(|s| age(Some(s)));
        assert_eq!(ages, ["12 ms", "3.2 s", "5 min", "2.0 h", "10.0 d"]);
        assert_eq!([512, 2_048, 5_368_709_120].map(bytes), ["512 B", "2.0 KiB", "5.0 GiB"]);
    }
}
