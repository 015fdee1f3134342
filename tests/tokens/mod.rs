//! Just enough of Rust's grammar to read source code.

/// The words and signs of the code, comments and literals left out.
pub fn tokens(mut text: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    while !text.is_empty() {
        let skipped = not_code(text);
        let len = skipped.unwrap_or_else(|| token_len(text));
        let token = &text[..len];
        if skipped.is_none() && !token.trim().is_empty() {
            tokens.push(token);
        }
        text = &text[len..];
    }
    tokens
}

/// The length of the word or sign at the start of `text`.
fn token_len(text: &str) -> usize {
    let word = text.find(|char: char| !char.is_alphanumeric() && char != '_').unwrap_or(text.len());
    if text.starts_with("::") { 2 } else { word.max(text.chars().next().map_or(0, char::len_utf8)) }
}

/// The length of the comment or literal at the start of `text`, if there is one.
fn not_code(text: &str) -> Option<usize> {
    let to = |end: &str, from: usize| Some(text[from..].find(end).map_or(text.len(), |at| from + at + end.len()));
    let hashes = text.chars().skip(1).take_while(|&char| char == '#').count();
    match text.as_bytes() {
        [b'/', b'/', ..] => to("\n", 2),
        [b'/', b'*', ..] => to("*/", 2),
        [b'r', rest @ ..] if rest.get(hashes) == Some(&b'"') => to(&format!("\"{}", "#".repeat(hashes)), hashes + 2),
        [b'"', ..] | [b'\'', b'\\', ..] => Some(quoted_len(text)),
        [b'\'', ..] if text.chars().nth(2) == Some('\'') => Some(quoted_len(text)),
        _ => None,
    }
}

/// The length of the literal at the start of `text`, which ends with the sign it starts with.
fn quoted_len(text: &str) -> usize {
    let mut escaped = false;
    let closes = |&(at, char): &(usize, char)| {
        let closes = at > 0 && !escaped && text.starts_with(char);
        escaped = char == '\\' && !escaped;
        closes
    };
    text.char_indices().find(closes).map_or(text.len(), |(at, char)| at + char.len_utf8())
}
