//! Who gave a lease its name: that decides whether a Secret with this name can belong to somebody else.

/// Where the name of the lease to be ended comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    /// This process has begun the lease.
    Here,
    /// The state that GitHub's runner keeps for our own step.
    State,
    /// Derived from this job's key. The other content of a lease file that was found under this name is not authenticated.
    Key,
    /// Derived from this job's key, and the lease file is sealed: only this job can have written it.
    Seal,
    /// An unsealed lease file: anybody who can write to its directory could have written it.
    File,
    /// A flag of `revoke`.
    Flag,
}

impl Named {
    /// Whether the name is ours alone. Then any Secret with that name is deleted, whoever made it and whatever uid we know.
    #[must_use]
    pub fn is_ours_alone(self) -> bool {
        match self {
            Self::Here | Self::State | Self::Key | Self::Seal => true,
            Self::File | Self::Flag => false,
        }
    }

    /// Whether the times in the lease can be believed. A lease that was found by the job's key may be on a volume that other jobs
    /// can write to. A file that the user keeps or names is the user's own responsibility.
    #[must_use]
    pub fn vouches_for_times(self) -> bool {
        match self {
            Self::Here | Self::State | Self::Seal | Self::File | Self::Flag => true,
            Self::Key => false,
        }
    }
}
