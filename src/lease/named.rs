//! Who has named a lease: whether a Secret of that name can be anybody else's.

/// Who has named the lease that is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    /// This process, which has begun it.
    Here,
    /// The runner's state of our own step.
    State,
    /// The key of this job, from which the name follows; what a file says besides is that file's word.
    Key,
    /// The key of this job, whose file nobody else can have written.
    Seal,
    /// A lease file that anybody could have written who can write where it lies.
    File,
    /// A flag.
    Flag,
}

impl Named {
    /// Whether the name is ours alone: whatever Secret has it is to go, whoever made it and whatever uid we were told.
    #[must_use]
    pub fn is_ours_alone(self) -> bool {
        match self {
            Self::Here | Self::State | Self::Key | Self::Seal => true,
            Self::File | Self::Flag => false,
        }
    }

    /// Whether what is known of the lease's times is nobody else's word. What a job's key finds is on a volume that other jobs have
    /// written to; a file that this user keeps, or names, is the user's own.
    #[must_use]
    pub fn vouches_for_times(self) -> bool {
        match self {
            Self::Here | Self::State | Self::Seal | Self::File | Self::Flag => true,
            Self::Key => false,
        }
    }
}
