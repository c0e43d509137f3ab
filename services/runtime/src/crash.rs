//! Places at which a test makes the process die, as SIGKILL does: [`crash_point!`](crate::crash_point).

#[doc(hidden)]
pub use fail as __fail;

/// A place at which the process dies when a test says so: `FAILPOINTS='outbox::committed=3*off->return'` lets it pass three times and
/// then aborts the process there, without a last word. Builds without debug assertions, which is every release, contain nothing of it.
#[macro_export]
macro_rules! crash_point {
    ($name:literal) => {
        #[cfg(debug_assertions)]
        let _: Option<()> = $crate::__fail::eval($name, |_| std::process::abort());
    };
}

/// Reads `FAILPOINTS`. Without debug assertions it does nothing.
pub fn arm_crash_points() {
    #[cfg(debug_assertions)]
    std::mem::forget(fail::FailScenario::setup());
}
