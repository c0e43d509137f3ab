//! The faults of the wallet that there are.

/// What a fault is about. Two faults of one class are never under way together, so that a quorum of brokers survives and each fault
/// meets what it is meant for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// The processors' pods.
    Members,
    /// The brokers.
    Brokers,
    /// PostgreSQL as a server.
    Database,
    /// The operator.
    Operator,
    /// Records that cannot be handled.
    Records,
    /// Tables that refuse or wait.
    Tables,
}

kinds! {
    /// SIGKILL of a processor's process.
    MemberKill = "member-kill", Members, "SIGKILL of a processor's process";
    /// A short SIGSTOP of a processor's process, which may be longer than a relay's lease.
    MemberPause = "member-pause", Members, "SIGSTOP of a processor's process, up to twice as long as a relay's lease";
    /// A SIGSTOP that outlasts the session of a group's member.
    MemberStop = "member-stop", Members, "SIGSTOP of a projector's process until its group has expelled it";
    /// A pod goes away with a warning.
    MemberDelete = "member-delete", Members, "deletion of a processor's pod, with grace";
    /// A pod goes away without a warning.
    MemberVanish = "member-vanish", Members, "deletion of a processor's pod without grace";
    /// A projector is scaled up and down again.
    Scale = "scale", Members, "a projector scaled to 3 and back";
    /// SIGKILL of a broker's process.
    BrokerKill = "broker-kill", Brokers, "SIGKILL of a broker's process";
    /// SIGSTOP of a broker's process.
    BrokerPause = "broker-pause", Brokers, "SIGSTOP of a broker's process, past its session with the controllers";
    /// A broker's pod goes away without a warning.
    BrokerDelete = "broker-delete", Brokers, "deletion of a broker's pod without grace";
    /// SIGKILL of all processes of the server.
    PostgresKill = "postgres-kill", Database, "SIGKILL of PostgreSQL's processes";
    /// The server is stopped and started.
    PostgresRestart = "postgres-restart", Database, "deletion of PostgreSQL's pod, with grace";
    /// Connections of the wallet are cut again and again.
    Disconnect = "disconnect", Database, "pg_terminate_backend of the wallet's connections, again and again";
    /// SIGKILL of the operator that leads.
    OperatorKill = "operator-kill", Operator, "deletion of the operator's leader without grace";
    /// Records that nobody can read, with and without keys of their own.
    Poison = "poison", Records, "unreadable records, with keys of their own and without";
    /// An unreadable record under the key of a wallet in use, and a word that lets the wallet go on.
    PoisonedWallet = "poisoned-wallet", Records, "an unreadable record in a wallet's stream, given up a moment later";
    /// A record of 10 MiB.
    Large = "large", Records, "a record of 10 MiB";
    /// A lock keeps a projection from writing.
    TableLock = "table-lock", Tables, "a lock on a projection's table";
    /// A table refuses the rows of some wallets for a while.
    RetryStorm = "retry-storm", Tables, "a table that refuses the rows of a quarter of the wallets";
}
