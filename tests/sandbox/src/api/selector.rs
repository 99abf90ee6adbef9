//! Label and field selectors of the simple forms `k`, `!k`, `k=v` and `k!=v`.

/// One requirement of a selector; the set forms are not here.
pub(super) struct Term {
    pub(super) key: String,
    /// `None`: the key must be there.
    value: Option<String>,
    negated: bool,
}

impl Term {
    pub(super) fn holds(&self, found: Option<&str>) -> bool {
        let met = match &self.value {
            Some(value) => found == Some(value.as_str()),
            None => found.is_some(),
        };
        met != self.negated
    }
}

/// All terms must hold; an empty selector has none.
pub(super) fn selector(text: &str) -> Result<Vec<Term>, &'static str> {
    if text.contains(['(', ' ', '>', '<']) {
        return Err("with a selector of sets");
    }
    let terms = text.split(',').filter(|term| !term.is_empty()).map(|term| {
        let (key, value, negated) = if let Some((key, value)) = term.split_once("!=") {
            (key, Some(value), true)
        } else if let Some((key, value)) = term.split_once('=') {
            (key, Some(value.trim_start_matches('=')), false)
        } else {
            (term.trim_start_matches('!'), None, term.starts_with('!'))
        };
        Term { key: key.to_owned(), value: value.map(str::to_owned), negated }
    });
    Ok(terms.collect())
}
