//! The clauses of the contract, as the checks name them.

/// A clause of the contract: its name and its text.
pub(crate) fn clause_text(clause: &str) -> String {
    let begin = format!("- **{clause}** ");
    let text = kv_core::contract::TEXT.split_once(&begin).map_or("", |(_, rest)| rest);
    let text = text.split("\n- ").next().unwrap_or_default().split("\n\n").next().unwrap_or_default();
    format!("{clause}: {}", text.split_whitespace().collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clause_is_quoted_up_to_its_end() {
        assert_eq!(clause_text("G1"), "G1: Reading an absent key is `Ok(None)`, never an error.");
        let clause = clause_text("T4");
        assert!(clause.starts_with("T4: A TTL that the backend cannot express is `InvalidTtl` (with the longest"));
        assert!(clause.ends_with("another one."), "{clause}");
    }
}
