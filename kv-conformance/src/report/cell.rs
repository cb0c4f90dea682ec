//! A cell of a matrix, and the note below it.

#[derive(PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) text: String,
    pub(super) note: Option<String>,
}

impl Cell {
    pub(super) fn kept() -> Self {
        Self { text: "✓".into(), note: None }
    }

    /// The cell with the number of its note, which is added to the others if it is new.
    pub(super) fn numbered(self, notes: &mut Vec<String>) -> String {
        let Some(note) = self.note else { return self.text };
        let at = notes.iter().position(|known| *known == note).unwrap_or_else(|| {
            notes.push(note);
            notes.len() - 1
        });
        format!("{}{}", self.text, superscript(at + 1))
    }
}

fn superscript(number: usize) -> String {
    let digits = "⁰¹²³⁴⁵⁶⁷⁸⁹";
    let digit = |digit: char| digits.chars().nth(digit.to_digit(10)? as usize);
    number.to_string().chars().filter_map(digit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_notes_have_all_their_digits() {
        assert_eq!(superscript(1), "¹");
        assert_eq!(superscript(1023), "¹⁰²³");
    }
}
