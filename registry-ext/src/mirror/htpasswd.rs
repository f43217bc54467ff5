//! The users of a mirror that asks for a password: a file of names and bcrypt hashes, as `htpasswd -B` writes it.
//!
//! A password takes the same work for every name, whether the file has it or not, so that nobody learns its names from
//! the time that an answer takes. What was right once is remembered for a short time, as a keyed hash: a pull has many
//! requests, and bcrypt is slow on purpose.

use std::collections::HashMap;
use std::fmt;
use std::fs::{self, Metadata};
use std::ops::RangeInclusive;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::http::HeaderValue;
use base64::prelude::{BASE64_STANDARD, Engine};
use bcrypt::HashParts;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use crate::{Error, Result};

/// The time for which a password that was right is not hashed again.
const REMEMBERED: Duration = Duration::from_secs(300);
/// Most passwords that are remembered.
const MAX_REMEMBERED: usize = 1024;
/// The costs that bcrypt has.
const COSTS: RangeInclusive<u32> = 4..=31;

/// The content of the file.
struct Users {
    /// The hash of each user.
    hashes: HashMap<String, String>,
    /// The highest cost of a hash.
    max_cost: u32,
    /// Tells this state of the file from others.
    stamp: Option<Stamp>,
}

/// Tells two states of a file apart: its device, inode, size and time of change.
type Stamp = (u64, u64, u64, i64, i64);

/// The users that may read.
pub(super) struct Htpasswd {
    path: PathBuf,
    users: Mutex<Arc<Users>>,
    /// The key of the hashes of `accepted`.
    key: [u8; 32],
    /// Hashes of the credentials that were right, and when they were compared.
    accepted: Mutex<HashMap<[u8; 32], Instant>>,
    /// Permits for passwords that are hashed at one time.
    permits: Arc<Semaphore>,
}

impl fmt::Debug for Htpasswd {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Htpasswd").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Htpasswd {
    /// Reads the file.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Malformed`] for a line that is no name with a bcrypt hash.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(|error| Error::malformed("random numbers", error))?;
        // The rest of the machine has to go on while somebody guesses.
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Self {
            path: path.to_owned(),
            users: Mutex::new(Arc::new(Users::read(path)?)),
            key,
            accepted: Mutex::default(),
            permits: Arc::new(Semaphore::new(cores.div_ceil(2))),
        })
    }

    /// Returns true if the credentials of a request (RFC 7617) are those of a user.
    pub(super) async fn accepts(&self, authorization: Option<&HeaderValue>) -> bool {
        let Some(header) = authorization else { return false };
        let users = self.current_users();
        let hash = *blake3::keyed_hash(&self.key, header.as_bytes()).as_bytes();
        if self.accepted().get(&hash).is_some_and(|since| since.elapsed() < REMEMBERED) {
            return true;
        }
        let Some((name, password)) = credentials(header) else { return false };
        // It goes with the work, which goes on when the client hangs up.
        let Ok(permit) = Arc::clone(&self.permits).acquire_owned().await else { return false };
        let compared = Arc::clone(&users);
        let compare = move || {
            let _permit = permit;
            compared.have(&name, &password)
        };
        let is_right = spawn_blocking(compare).await.unwrap_or(false);
        let mut accepted = self.accepted();
        // The file may have been changed meanwhile, and the memory of what was right been cleared.
        if is_right && Arc::ptr_eq(&users, &self.users()) {
            accepted.retain(|_, since| since.elapsed() < REMEMBERED);
            if accepted.len() < MAX_REMEMBERED {
                accepted.insert(hash, Instant::now());
            }
        }
        is_right
    }

    /// The users as the file has them now. A file that cannot be read leaves those that it had before.
    fn current_users(&self) -> Arc<Users> {
        let stamp = fs::metadata(&self.path).ok().map(|metadata| stamp(&metadata));
        let mut users = self.users();
        if users.stamp != stamp {
            let read = Users::read(&self.path).unwrap_or_else(|error| {
                let reason = error.one_line();
                tracing::warn!("the users stay as they were: {reason}");
                Users { hashes: users.hashes.clone(), max_cost: users.max_cost, stamp }
            });
            *users = Arc::new(read);
            self.accepted().clear();
        }
        Arc::clone(&users)
    }

    fn users(&self) -> MutexGuard<'_, Arc<Users>> {
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn accepted(&self) -> MutexGuard<'_, HashMap<[u8; 32], Instant>> {
        self.accepted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Users {
    fn read(path: &Path) -> Result<Self> {
        let stamp = fs::metadata(path).ok().map(|metadata| stamp(&metadata));
        let text = fs::read_to_string(path).map_err(Error::io("read", path))?;
        let mut hashes = HashMap::new();
        let mut max_cost = 0;
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong =
                |reason: &str| Error::malformed(format!("line {} of {}", number + 1, path.display()), reason);
            let (name, hash) = line.split_once(':').ok_or_else(|| wrong("it has no name with a hash"))?;
            let parts = HashParts::from_str(hash).ok().filter(|parts| COSTS.contains(&parts.get_cost()));
            let parts = parts.ok_or_else(|| wrong("its hash is none of bcrypt; `htpasswd -B` makes one"))?;
            max_cost = max_cost.max(parts.get_cost());
            hashes.insert(name.to_owned(), hash.to_owned());
        }
        Ok(Self { hashes, max_cost, stamp })
    }

    /// Returns true if a user of this name has this password. Blocks, for as long as the costliest hash takes.
    fn have(&self, name: &str, password: &[u8]) -> bool {
        let hash = self.hashes.get(name);
        let cost = hash.and_then(|hash| HashParts::from_str(hash).ok()).map(|parts| parts.get_cost());
        let is_right = hash.is_some_and(|hash| bcrypt::verify(password, hash).unwrap_or(false));
        // Work doubles with the cost: one hash of each cost from that of the user on makes up for the rest, and one of
        // the highest cost for a user that there is not.
        let missing = cost.map_or(self.max_cost..self.max_cost + 1, |cost| cost..self.max_cost);
        for cost in missing.filter(|cost| COSTS.contains(cost)) {
            drop(std::hint::black_box(bcrypt::hash_with_salt(password, cost, [0; 16])));
        }
        is_right
    }
}

/// The name and the password of a header. A password with a zero is none that a hash can be of.
fn credentials(header: &HeaderValue) -> Option<(String, Vec<u8>)> {
    let (scheme, encoded) = header.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let bytes = BASE64_STANDARD.decode(encoded.trim()).ok()?;
    let colon = bytes.iter().position(|byte| *byte == b':')?;
    let (name, password) = (bytes.get(..colon)?, bytes.get(colon + 1..)?);
    let name = String::from_utf8(name.to_vec()).ok()?;
    (!password.contains(&0)).then(|| (name, password.to_vec()))
}

fn stamp(metadata: &Metadata) -> Stamp {
    (metadata.dev(), metadata.ino(), metadata.size(), metadata.ctime(), metadata.ctime_nsec())
}

#[cfg(test)]
mod tests {
    use bcrypt::Version;

    use super::*;

    /// `bcrypt::hash` needs random numbers of its own; a fixed salt will do here.
    fn line(name: &str, password: &str, cost: u32) -> String {
        let hash = bcrypt::hash_with_salt(password, cost, [7; 16]).unwrap();
        format!("{name}:{}\n", hash.format_for_version(Version::TwoY))
    }

    fn basic(text: &str) -> HeaderValue {
        format!("Basic {}", BASE64_STANDARD.encode(text)).parse().unwrap()
    }

    fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("htpasswd");
        fs::write(&path, text).unwrap();
        (dir, path)
    }

    #[tokio::test]
    async fn users_get_in_by_their_own_password() {
        let text = format!("# who\n\n{}{}", line("ada", "se:cret", 4), line("bob", "other", 5));
        let (_dir, path) = file(&text);
        let users = Htpasswd::open(&path).unwrap();
        for (credentials, wanted) in [
            ("ada:se:cret", true),
            ("ada:se:cret", true),
            ("bob:other", true),
            ("ada:other", false),
            ("bob:se:cret", false),
            ("eve:other", false),
            ("ada:", false),
            ("ada", false),
            (":", false),
            ("ada:se:cret\0", false),
        ] {
            assert_eq!(users.accepts(Some(&basic(credentials))).await, wanted, "{credentials:?}");
        }
        for header in ["Basic", "Basic ###", "Bearer abc", "basic YWRhOnNlOmNyZXQ"] {
            assert!(!users.accepts(Some(&header.parse().unwrap())).await, "{header}");
        }
        assert!(!users.accepts(None).await);
    }

    #[tokio::test]
    async fn a_password_that_is_too_long_is_hashed_as_htpasswd_does() {
        let (_dir, path) = file(&line("ada", &"x".repeat(100), 4));
        let users = Htpasswd::open(&path).unwrap();
        assert!(users.accepts(Some(&basic(&format!("ada:{}", "x".repeat(100))))).await);
        assert!(!users.accepts(Some(&basic(&format!("ada:{}", "x".repeat(20))))).await);
    }

    #[tokio::test]
    async fn a_change_of_the_file_counts_at_once() {
        let (_dir, path) = file(&line("ada", "secret", 4));
        let users = Htpasswd::open(&path).unwrap();
        assert!(users.accepts(Some(&basic("ada:secret"))).await);
        fs::write(&path, line("bob", "longer-secret", 4)).unwrap();
        assert!(!users.accepts(Some(&basic("ada:secret"))).await, "what is remembered goes too");
        assert!(users.accepts(Some(&basic("bob:longer-secret"))).await);
        fs::write(&path, "bob:plain").unwrap();
        assert!(users.accepts(Some(&basic("bob:longer-secret"))).await, "a broken file changes nothing");
    }

    #[test]
    fn hashes_other_than_bcrypt_are_refused() {
        let costly = line("ada", "secret", 4).replace("$04$", "$32$");
        for text in ["ada:$apr1$x$y", "ada:{SHA}x", "ada:secret", "ada", "ada:$2y$05$short", &costly] {
            let (_dir, path) = file(&format!("\n{text}\n"));
            let error = Htpasswd::open(&path).unwrap_err().to_string();
            assert!(error.contains("line 2 of"), "{text}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
