//! The clauses of the contract that a message names.

/// The clauses in a bracket, if it contains nothing else.
pub(super) fn clauses_alone(text: &str) -> Vec<String> {
    let named = text.split_once(')').map_or("", |(named, _)| named);
    if named.split(", ").all(is_clause) { clauses_in(named) } else { Vec::new() }
}

/// The clauses among the words of a text, each once.
pub(super) fn clauses_in(text: &str) -> Vec<String> {
    let mut clauses = Vec::<String>::new();
    for word in text.split([' ', ',']).filter(|word| is_clause(word)) {
        if !clauses.iter().any(|known| known == word) {
            clauses.push(word.into());
        }
    }
    clauses
}

fn is_clause(word: &str) -> bool {
    kv_core::contract::TEXT.contains(&format!("\n- **{word}** "))
}
