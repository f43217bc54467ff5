//! The credentials that a registry asks for: the header `WWW-Authenticate` (RFC 9110, 11.6.1).
//!
//! It is read by hand: the crate `http-auth` refuses what registries send, URLs without quotes, two spaces
//! after the scheme, and all that follows a `Negotiate` with a token.

use reqwest::header::{HeaderMap, HeaderValue, WWW_AUTHENTICATE};

/// Most headers that are kept as they are.
const MAX_HEADERS: usize = 8;
/// Longest scope that is passed on to a token server, in bytes.
const MAX_SCOPE_SIZE: usize = 2048;

/// The ways in which a registry lets somebody in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Challenges {
    /// By a token.
    pub(super) bearer: Option<Bearer>,
    /// By user name and password.
    pub(super) basic: bool,
    /// The headers, for those who are asked in the registry's place.
    headers: Vec<HeaderValue>,
}

/// The server that tokens come from (distribution, "Token Authentication Specification").
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bearer {
    /// The URL of the token server.
    pub(super) realm: String,
    /// The name of the registry there.
    pub(super) service: Option<String>,
    /// The scopes that the token must allow.
    pub(super) scopes: Vec<String>,
}

impl Challenges {
    /// Reads all of them. What cannot be read is left out.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let mut challenges = Self::default();
        for header in headers.get_all(WWW_AUTHENTICATE) {
            challenges.read(&String::from_utf8_lossy(header.as_bytes()));
        }
        challenges.headers = headers.get_all(WWW_AUTHENTICATE).iter().take(MAX_HEADERS).cloned().collect();
        challenges
    }

    /// The headers as the registry sent them.
    pub(crate) fn headers(&self) -> &[HeaderValue] {
        &self.headers
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.bearer.is_none() && !self.basic
    }

    /// Adds the challenges of one header. A comma separates parameters and challenges alike: a challenge
    /// begins with a word that no `=` follows.
    fn read(&mut self, header: &str) {
        let (mut scheme, mut parameters) = (String::new(), Vec::new());
        for item in split_outside_quotes(header) {
            let mut rest = item;
            let (word, after) = item.split_once(char::is_whitespace).unwrap_or((item, ""));
            if !word.contains('=') && !after.trim_start().starts_with('=') {
                self.add(&scheme, &parameters);
                (scheme, parameters) = (word.to_ascii_lowercase(), Vec::new());
                rest = after.trim_start();
            }
            if let Some((key, value)) = rest.split_once('=') {
                parameters.push((key.trim().to_ascii_lowercase(), unquote(value.trim())));
            }
        }
        self.add(&scheme, &parameters);
    }

    fn add(&mut self, scheme: &str, parameters: &[(String, String)]) {
        let parameter = |name: &str| {
            let found = parameters.iter().find(|(key, value)| key == name && !value.is_empty());
            found.map(|(_, value)| value.clone())
        };
        match (scheme, parameter("realm")) {
            ("basic", _) => self.basic = true,
            ("bearer", Some(realm)) if self.bearer.is_none() => {
                let scope = parameter("scope").filter(|scope| scope.len() <= MAX_SCOPE_SIZE);
                let scopes = scope.iter().flat_map(|scope| scope.split_whitespace()).map(str::to_owned);
                let scopes = scopes.collect();
                self.bearer = Some(Bearer { realm, service: parameter("service"), scopes });
            }
            _ => {}
        }
    }
}

/// The parts of a list between commas that stand in no quotes, without what is empty.
fn split_outside_quotes(text: &str) -> impl Iterator<Item = &str> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    let parts = text.split(move |letter| {
        let was_escaped = std::mem::take(&mut is_escaped);
        match letter {
            '"' if !was_escaped => is_quoted = !is_quoted,
            '\\' if is_quoted && !was_escaped => is_escaped = true,
            _ => {}
        }
        letter == ',' && !is_quoted
    });
    parts.map(str::trim).filter(|part| !part.is_empty())
}

/// The value of a parameter, which may stand in quotes.
fn unquote(value: &str) -> String {
    let Some(quoted) = value.strip_prefix('"') else { return value.to_owned() };
    let (mut plain, mut letters) = (String::new(), quoted.chars());
    while let Some(letter) = letters.next() {
        match letter {
            '"' => break,
            '\\' => plain.extend(letters.next()),
            other => plain.push(other),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(headers: &[&str]) -> Challenges {
        let mut map = HeaderMap::new();
        for header in headers {
            map.append(WWW_AUTHENTICATE, header.parse().unwrap());
        }
        Challenges::of(&map)
    }

    fn bearer(realm: &str, service: Option<&str>, scopes: &[&str]) -> Bearer {
        let scopes = scopes.iter().map(ToString::to_string).collect();
        Bearer { realm: realm.into(), service: service.map(str::to_owned), scopes }
    }

    #[test]
    fn a_challenge_is_read_in_every_spelling() {
        let wanted = bearer("https://auth.example/token", Some("r"), &["repository:a:pull,push"]);
        for header in [
            r#"Bearer realm="https://auth.example/token",service="r",scope="repository:a:pull,push""#,
            r#"bearer  realm = "https://auth.example/token" , SERVICE="r", scope="repository:a:pull,push","#,
            r#"Bearer scope="repository:a:pull,push", service=r, realm=https://auth.example/token"#,
            r#"Basic realm="a, Bearer b", Bearer realm="https://auth.example/token",service="r",scope="repository:a:pull,push",error="insufficient_scope""#,
            r#"Negotiate YII=, Bearer realm="https://auth.example/token",service="\r",scope="repository:a:pull,push", Basic"#,
        ] {
            assert_eq!(read(&[header]).bearer.as_ref(), Some(&wanted), "{header}");
        }
    }

    #[test]
    fn both_ways_are_seen_in_one_header_and_in_two() {
        for headers in [
            [r#"Basic realm="x""#, r#"Bearer realm="t""#].as_slice(),
            &[r#"Basic realm="x", Bearer realm="t""#],
            &[r#"Bearer realm="t", Basic realm="x""#],
            &["Basic, Bearer realm=t"],
        ] {
            let read = read(headers);
            assert_eq!((read.bearer, read.basic), (Some(bearer("t", None, &[])), true), "{headers:?}");
            assert_eq!(read.headers, headers.to_vec());
        }
    }

    #[test]
    fn several_scopes_are_several() {
        let read = read(&[r#"Bearer realm="t",scope="repository:a:pull  repository:b:pull,push""#]);
        assert_eq!(read.bearer.unwrap().scopes, ["repository:a:pull", "repository:b:pull,push"]);
    }

    #[test]
    fn what_is_no_challenge_asks_for_nothing() {
        for header in
            ["", ",", "Bearer", r#"Bearer service="x""#, r#"Bearer realm="""#, "=", "Digest realm=x", "\"\\"]
        {
            assert!(read(&[header]).is_empty(), "{header}");
        }
    }
}
