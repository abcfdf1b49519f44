//! Amounts as the server writes them: `0.5` is `500m`, `1024Mi` is `1Gi`.

/// How an amount was given, which it keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    /// `Ki`, `Mi`.
    Binary,
    /// `m`, `k`, `M`.
    Decimal,
    /// `e3`.
    Exponent,
}

/// An amount: `mantissa * 10^exponent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quantity {
    mantissa: i128,
    exponent: i32,
    style: Style,
}

const BINARY: &[&str] = &["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
const DECIMAL: &[(&str, i32)] =
    &[("n", -9), ("u", -6), ("m", -3), ("", 0), ("k", 3), ("M", 6), ("G", 9), ("T", 12), ("P", 15), ("E", 18)];

/// Digits of a mantissa, at most.
const DIGITS_MAX: i32 = 39;

/// The largest amount that the server knows, in thousandths.
const AMOUNT_MAX: i128 = i64::MAX as i128 * 1000;

/// What the server says of a text that is no amount.
pub const MALFORMED: &str =
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";

impl Quantity {
    /// Reads an amount.
    pub fn parse(text: &str) -> Option<Quantity> {
        let end = text.find(|letter: char| !letter.is_ascii_digit() && !"+-.".contains(letter)).unwrap_or(text.len());
        let (number, suffix) = text.split_at(end);
        let (sign, digits) = match number.strip_prefix('-') {
            Some(digits) => (-1, digits),
            None => (1, number.strip_prefix('+').unwrap_or(number)),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let all = format!("{whole}{fraction}");
        if all.is_empty() || !all.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let mut mantissa = sign * all.parse::<i128>().ok()?;
        let mut exponent = -i32::try_from(fraction.len()).ok()?;
        let style = if let Some(power) = BINARY.iter().position(|one| *one == suffix).filter(|power| *power > 0) {
            mantissa = mantissa.checked_mul(1024_i128.checked_pow(u32::try_from(power).ok()?)?)?;
            Style::Binary
        } else if let Some((_, power)) = DECIMAL.iter().find(|(one, _)| *one == suffix) {
            exponent += power;
            Style::Decimal
        } else {
            exponent = exponent.checked_add(suffix.strip_prefix(['e', 'E'])?.parse::<i32>().ok()?)?;
            Style::Exponent
        };
        Some(Quantity { mantissa, exponent, style }.at_nanos())
    }

    /// So many thousandths.
    pub fn of_thousandths(amount: i128) -> Quantity {
        Quantity { mantissa: amount, exponent: -3, style: Style::Decimal }
    }

    /// So many bytes.
    pub fn of_bytes(amount: i128) -> Quantity {
        Quantity { mantissa: amount, exponent: 0, style: Style::Binary }
    }

    /// Nothing is smaller than a billionth: it is rounded away from zero.
    fn at_nanos(mut self) -> Quantity {
        if self.exponent < -9 - DIGITS_MAX {
            // Of so small an amount no digit is left.
            self = Quantity { mantissa: self.mantissa.signum(), exponent: -9, ..self };
        }
        while self.exponent < -9 {
            let rest = self.mantissa % 10;
            self.mantissa = self.mantissa / 10 + rest.signum();
            self.exponent += 1;
        }
        self
    }

    /// Rounded up to thousandths, as amounts of resources are.
    pub fn at_thousandths(mut self) -> Quantity {
        while self.exponent < -3 {
            let rest = self.mantissa % 10;
            self.mantissa = self.mantissa / 10 + rest.signum();
            self.exponent += 1;
        }
        self
    }

    /// The whole number that it is, if it is one.
    fn whole(&self) -> Option<i128> {
        let power = 10_i128.checked_pow(self.exponent.unsigned_abs())?;
        if self.exponent >= 0 {
            return self.mantissa.checked_mul(power);
        }
        (self.mantissa % power == 0).then_some(self.mantissa / power)
    }

    /// 1, 0 or -1.
    pub fn sign(&self) -> i128 {
        self.mantissa.signum()
    }

    /// In thousandths: `250m` is 250. What is larger than any amount that the server knows is as large as that.
    pub fn thousandths(&self) -> i128 {
        let power = self.exponent.saturating_add(3);
        let factor = 10_i128.checked_pow(power.unsigned_abs()).unwrap_or(i128::MAX);
        let amount = if power >= 0 { self.mantissa.saturating_mul(factor) } else { self.mantissa / factor };
        amount.clamp(-AMOUNT_MAX, AMOUNT_MAX)
    }

    /// As the server writes it.
    pub fn canonical(&self) -> String {
        match (self.style, self.whole()) {
            (Style::Binary, Some(mut whole)) if whole.abs() >= 1024 => {
                let mut power = 0;
                while whole % 1024 == 0 && power + 1 < BINARY.len() {
                    whole /= 1024;
                    power += 1;
                }
                format!("{whole}{}", BINARY[power])
            }
            _ => self.decimal(),
        }
    }

    fn decimal(&self) -> String {
        let (mut mantissa, mut exponent) = (self.mantissa, self.exponent);
        if mantissa == 0 {
            return "0".to_owned();
        }
        while mantissa % 10 == 0 {
            mantissa /= 10;
            exponent += 1;
        }
        let top = if self.style == Style::Exponent { i32::MAX } else { 18 };
        while exponent % 3 != 0 || exponent > top {
            let Some(more) = mantissa.checked_mul(10) else { break };
            (mantissa, exponent) = (more, exponent - 1);
        }
        match DECIMAL.iter().find(|(_, power)| *power == exponent) {
            Some((suffix, _)) if self.style != Style::Exponent => format!("{mantissa}{suffix}"),
            _ if exponent == 0 => mantissa.to_string(),
            _ => format!("{mantissa}e{exponent}"),
        }
    }
}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Quantity) -> Option<std::cmp::Ordering> {
        let least = self.exponent.min(other.exponent);
        let at = |one: &Quantity| one.mantissa.checked_mul(10_i128.checked_pow(one.exponent.abs_diff(least))?);
        Some(at(self)?.cmp(&at(other)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_beyond_all_measure_end_somewhere() {
        for (text, thousandths) in [
            ("1.5e-2147483648", 0),
            ("1e100", i128::from(i64::MAX) * 1000),
            ("2Pi", 2000 << 50),
            ("100u", 0),
            ("5E", 5_000_000_000_000_000_000_000),
        ] {
            assert_eq!(Quantity::parse(text).map_or(0, |amount| amount.thousandths()), thousandths, "{text}");
        }
        assert_eq!(Quantity::parse("1e40").unwrap().canonical(), "10e39");
    }

    #[test]
    fn amounts_are_written_as_the_server_does() {
        let rows = [
            ("0.5", "500m"),
            ("1000m", "1"),
            ("1024Mi", "1Gi"),
            ("1.5Gi", "1536Mi"),
            ("0.5Ki", "512"),
            ("1500", "1500"),
            ("2000", "2k"),
            ("1e3", "1e3"),
            ("0Gi", "0"),
            ("-1", "-1"),
            ("100m", "100m"),
            ("1.0", "1"),
            ("0.0000000001", "1n"),
            ("12345678901", "12345678901"),
        ];
        for (given, written) in rows {
            assert_eq!(Quantity::parse(given).unwrap().canonical(), written, "{given}");
        }
        for wrong in ["", "x", "1x", "1 Gi", "Gi", "1.2.3", "--1"] {
            assert_eq!(Quantity::parse(wrong), None, "{wrong}");
        }
        assert!(Quantity::parse("1500m") > Quantity::parse("1") && Quantity::parse("1Ki") > Quantity::parse("1k"));
    }
}
