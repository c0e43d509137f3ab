//! Money: minor units of a currency. On the wire a decimal string; never a float, and never a silent overflow.

use std::{cmp::Ordering, fmt};

use crate::Currency;

/// Longest amount that is read at all: more than the digits of any `i64` and a sign and a point, few enough to echo.
pub const LONGEST: usize = 24;

/// An amount of one currency, which may be negative (a balance under overdraft).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Money {
    units: i64,
    currency: Currency,
}

/// Why a text is not an amount of a currency, or not one that can be moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum AmountError {
    /// Longer than [`LONGEST`].
    #[error("the amount is longer than {LONGEST} characters")]
    TooLong,
    /// Not digits with at most one point between them.
    #[error("the amount is not a decimal number such as \"12.34\"")]
    NotANumber,
    /// More decimals than the currency has.
    #[error("the amount has {found} decimals; {currency} has {}", .currency.exponent())]
    TooManyDecimals {
        /// Decimals that were written.
        found: usize,
        /// The currency.
        currency: Currency,
    },
    /// More minor units than 64 bits count.
    #[error("the amount is larger than can be counted")]
    TooLarge,
    /// Less than zero where money moves.
    #[error("the amount is negative; it must be more than zero")]
    Negative,
    /// Zero where money moves.
    #[error("the amount is zero; it must be more than zero")]
    Zero,
}

impl Money {
    /// That many minor units.
    pub fn new(units: i64, currency: Currency) -> Self {
        Self { units, currency }
    }

    /// Minor units: cents of a euro, yen, thousandths of a dinar.
    pub fn units(self) -> i64 {
        self.units
    }

    /// The currency.
    pub fn currency(self) -> Currency {
        self.currency
    }

    /// Reads a decimal number: an optional `-`, digits, and at most one point between digits. Fewer decimals than the currency has
    /// are fine; more are refused even when they are zeros, because whoever wrote them believes in another currency.
    pub fn parse(text: &str, currency: Currency) -> Result<Self, AmountError> {
        if text.len() > LONGEST {
            return Err(AmountError::TooLong);
        }
        let (negative, digits) = text.strip_prefix('-').map_or((false, text), |digits| (true, digits));
        let (whole, fraction) = match digits.split_once('.') {
            Some((_, "")) => return Err(AmountError::NotANumber),
            Some(parts) => parts,
            None => (digits, ""),
        };
        if whole.is_empty() || !whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit()) {
            return Err(AmountError::NotANumber);
        }
        let exponent = usize::from(currency.exponent());
        if fraction.len() > exponent {
            return Err(AmountError::TooManyDecimals { found: fraction.len(), currency });
        }
        let padding = std::iter::repeat_n(b'0', exponent - fraction.len());
        // Counted on the side of its sign, because i64 reaches one further below zero than above.
        let sign = if negative { -1 } else { 1 };
        let units = whole
            .bytes()
            .chain(fraction.bytes())
            .chain(padding)
            .try_fold(0_i64, |units, digit| units.checked_mul(10)?.checked_add(sign * i64::from(digit - b'0')));
        units.map(|units| Self { units, currency }).ok_or(AmountError::TooLarge)
    }

    /// Reads an amount that is to be moved: as [`Money::parse`], and more than zero.
    pub fn parse_positive(text: &str, currency: Currency) -> Result<Self, AmountError> {
        let money = Self::parse(text, currency)?;
        match money.units.cmp(&0) {
            Ordering::Less => Err(AmountError::Negative),
            Ordering::Equal => Err(AmountError::Zero),
            Ordering::Greater => Ok(money),
        }
    }

    /// The sum; none if the currencies differ or 64 bits do not count it.
    pub fn checked_add(self, other: Self) -> Option<Self> {
        let units = self.units.checked_add(other.units)?;
        (self.currency == other.currency).then_some(Self { units, ..self })
    }

    /// The difference; none if the currencies differ or 64 bits do not count it.
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        let units = self.units.checked_sub(other.units)?;
        (self.currency == other.currency).then_some(Self { units, ..self })
    }
}

/// The decimal number, with all decimals of the currency and without its code: `12.30`, `-0.05`, `500` (yen).
impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.units < 0 { "-" } else { "" };
        let units = self.units.unsigned_abs();
        match u32::from(self.currency.exponent()) {
            0 => write!(f, "{sign}{units}"),
            exponent => {
                let one = 10_u64.pow(exponent);
                write!(f, "{sign}{}.{:0width$}", units / one, units % one, width = exponent as usize)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn currency(code: &str) -> Currency {
        code.parse().unwrap()
    }

    #[test]
    fn amounts_are_read_to_the_last_minor_unit() {
        for (text, code, units) in [
            ("12.34", "EUR", 1234),
            ("12.3", "EUR", 1230),
            ("12", "EUR", 1200),
            ("0.01", "EUR", 1),
            ("-0.05", "EUR", -5),
            ("00012", "JPY", 12),
            ("1.234", "KWD", 1234),
            ("92233720368547758.07", "EUR", i64::MAX),
            ("-92233720368547758.08", "EUR", i64::MIN),
        ] {
            assert_eq!(Money::parse(text, currency(code)).map(Money::units), Ok(units), "{text} {code}");
        }
    }

    #[test]
    fn what_cannot_be_moved_says_why() {
        let eur = currency("EUR");
        let yen = currency("JPY");
        for (text, currency, error) in [
            ("0", eur, AmountError::Zero),
            ("-0.00", eur, AmountError::Zero),
            ("-1", eur, AmountError::Negative),
            ("1.234", eur, AmountError::TooManyDecimals { found: 3, currency: eur }),
            ("1.000", eur, AmountError::TooManyDecimals { found: 3, currency: eur }),
            ("5.0", yen, AmountError::TooManyDecimals { found: 1, currency: yen }),
            ("92233720368547758.08", eur, AmountError::TooLarge),
            ("1000000000000000000000000", eur, AmountError::TooLong),
            ("", eur, AmountError::NotANumber),
            ("-", eur, AmountError::NotANumber),
            (".", eur, AmountError::NotANumber),
            (".5", eur, AmountError::NotANumber),
            ("5.", eur, AmountError::NotANumber),
            ("1,50", eur, AmountError::NotANumber),
            ("1e3", eur, AmountError::NotANumber),
            ("+1", eur, AmountError::NotANumber),
            (" 1", eur, AmountError::NotANumber),
            ("1.2.3", eur, AmountError::NotANumber),
            ("NaN", eur, AmountError::NotANumber),
            ("\u{661}", eur, AmountError::NotANumber), // a digit, but not an ASCII one
        ] {
            assert_eq!(Money::parse_positive(text, currency), Err(error), "{text}");
        }
    }

    #[test]
    fn sums_are_of_one_currency_and_never_wrap() {
        let eur = |units| Money::new(units, currency("EUR"));
        assert_eq!(eur(1).checked_add(eur(2)), Some(eur(3)));
        assert_eq!(eur(1).checked_sub(eur(2)), Some(eur(-1)));
        assert_eq!(eur(i64::MAX).checked_add(eur(1)), None);
        assert_eq!(eur(i64::MIN).checked_sub(eur(1)), None);
        assert_eq!(eur(1).checked_add(Money::new(1, currency("USD"))), None);
    }

    fn any_currency() -> impl Strategy<Value = Currency> {
        prop::sample::select(Currency::all().collect::<Vec<_>>())
    }

    proptest! {
        #[test]
        fn what_is_written_is_what_is_read(units: i64, currency in any_currency()) {
            let money = Money::new(units, currency);
            prop_assert_eq!(Money::parse(&money.to_string(), currency), Ok(money));
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,30}", currency in any_currency()) {
            if let Ok(money) = Money::parse_positive(&text, currency) {
                prop_assert!(money.units() > 0);
            }
        }

        #[test]
        fn a_number_close_to_an_amount_is_read_or_refused_by_value(
            whole in "[0-9]{1,12}", fraction in "[0-9]{0,5}", currency in any_currency()
        ) {
            let text = if fraction.is_empty() { whole.clone() } else { format!("{whole}.{fraction}") };
            let expected = (fraction.len() <= usize::from(currency.exponent())).then(|| {
                let decimals = u32::from(currency.exponent()) - fraction.len() as u32;
                format!("{whole}{fraction}").parse::<i64>().unwrap() * 10_i64.pow(decimals)
            });
            prop_assert_eq!(Money::parse(&text, currency).ok().map(Money::units), expected);
        }
    }
}
