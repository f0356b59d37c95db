//! Tokens by which workers are known over HTTP: each names one worker.

use std::fmt;
use std::fmt::Write as _;

use hai_core::model::RunId;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// How a worker's token begins.
const PREFIX: &str = "haiw";

/// Makes and knows the tokens of workers. Nothing is stored for them: a token is the worker's name, sealed with a secret.
#[derive(Clone)]
pub struct WorkerTokens {
    secret: [u8; 32],
}

impl fmt::Debug for WorkerTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WorkerTokens")
    }
}

impl WorkerTokens {
    /// Tokens that are sealed with this secret, which must be random and stay the same.
    #[must_use]
    pub const fn new(secret: [u8; 32]) -> Self {
        WorkerTokens { secret }
    }

    /// The token of a worker.
    #[must_use]
    pub fn token(&self, run: RunId, rank: u32) -> String {
        format!("{PREFIX}-{run}-{rank}-{}", self.seal(run, rank))
    }

    /// Whose token it is, if it is one of ours. Takes as long for a wrong seal as for the right one.
    #[must_use]
    pub fn worker(&self, token: &str) -> Option<(RunId, u32)> {
        let mut parts = token.strip_prefix(PREFIX)?.strip_prefix('-')?.splitn(3, '-');
        let (run, rank) = (RunId(parts.next()?.parse().ok()?), parts.next()?.parse().ok()?);
        let seal = self.seal(run, rank);
        let same: bool = parts.next()?.as_bytes().ct_eq(seal.as_bytes()).into();
        same.then_some((run, rank))
    }

    /// What tells the one who holds the secret from others, without telling the secret.
    pub(crate) fn mark(&self) -> String {
        self.seal(RunId(u64::MAX), u32::MAX).split_off(48)
    }

    /// All that is sealed has the same length, so that nothing can be appended to it.
    fn seal(&self, run: RunId, rank: u32) -> String {
        let mut hash = Sha256::new();
        hash.update(self.secret);
        hash.update(run.0.to_be_bytes());
        hash.update(rank.to_be_bytes());
        hash.finalize().iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_names_its_worker_and_nobody_else() {
        let tokens = WorkerTokens::new([7; 32]);
        let token = tokens.token(RunId(12), 3);
        assert_eq!(tokens.worker(&token), Some((RunId(12), 3)));
        assert_eq!(WorkerTokens::new([8; 32]).worker(&token), None, "another daemon's");
        for wrong in ["", "haiw", "haiw-12-3", "haiw-12-3-", &token.replacen("12", "13", 1), &token[..token.len() - 1]]
        {
            assert_eq!(tokens.worker(wrong), None, "{wrong}");
        }
    }
}
