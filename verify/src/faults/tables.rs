//! Trouble in the wallet's database: connections that are cut, a table that is locked, a table that refuses rows.

use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection, PgConnection};

use super::FaultError;
use crate::stores::postgres::connect;

const CUT_EVERY: Duration = Duration::from_millis(500);

/// The wallet's database, as the wallet's own role.
#[derive(Clone)]
pub struct Tables {
    url: String,
}

impl Tables {
    /// The database at a URL.
    pub fn new(url: &str) -> Self {
        Self { url: url.into() }
    }

    /// Whether the server answers.
    pub async fn answer(&self) -> Result<(), FaultError> {
        let mut connection = connect(&self.url).await?;
        connection.ping().await.map_err(FaultError::database("asking whether PostgreSQL is there"))
    }

    /// Cuts every other connection to the database, again and again.
    pub async fn cut_connections(&self, hold: Duration) -> Result<(), FaultError> {
        let doing = "cutting connections";
        let ends = tokio::time::Instant::now() + hold;
        let mut connection = connect(&self.url).await?;
        while tokio::time::Instant::now() < ends {
            sqlx::query(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                 WHERE datname = current_database() AND usename = current_user AND pid <> pg_backend_pid()",
            )
            .execute(&mut connection)
            .await
            .map_err(FaultError::database(doing))?;
            tokio::time::sleep(CUT_EVERY).await;
        }
        Ok(())
    }

    /// Keeps writers off a table; readers are let in. The lock is the connection's: whatever ends this ends it.
    pub async fn lock(&self, table: &str, hold: Duration) -> Result<(), FaultError> {
        let doing = "locking a table";
        let mut connection = connect(&self.url).await?;
        let mut transaction = connection.begin().await.map_err(FaultError::database(doing))?;
        let lock = format!("LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE");
        for statement in ["SET LOCAL lock_timeout = '20s'".to_owned(), lock] {
            sqlx::query(AssertSqlSafe(statement))
                .execute(&mut *transaction)
                .await
                .map_err(FaultError::database(doing))?;
        }
        tokio::time::sleep(hold).await;
        // A connection that another fault has cut holds no lock either.
        let _ = transaction.rollback().await;
        Ok(())
    }

    /// Makes a table refuse the rows of a quarter of the wallets, until [`Self::accept`].
    pub async fn refuse(&self, table: &str) -> Result<(), FaultError> {
        let trigger = format!(
            "CREATE OR REPLACE TRIGGER tidegate_faults BEFORE INSERT OR UPDATE ON {table}
             FOR EACH ROW EXECUTE FUNCTION tidegate_faults_refuse()"
        );
        self.execute([REFUSE.to_owned(), trigger]).await
    }

    /// Undoes [`Self::refuse`], wherever it was done.
    pub async fn accept(&self) -> Result<(), FaultError> {
        self.execute(["DROP FUNCTION IF EXISTS tidegate_faults_refuse() CASCADE".to_owned()]).await
    }

    async fn execute(&self, statements: impl IntoIterator<Item = String>) -> Result<(), FaultError> {
        let mut connection: PgConnection = connect(&self.url).await?;
        for statement in statements {
            sqlx::query(AssertSqlSafe(statement))
                .execute(&mut connection)
                .await
                .map_err(FaultError::database("changing what a table accepts"))?;
        }
        Ok(())
    }
}

/// A refusal by the wallet's id, so that it is a record's own trouble and not the batch's.
const REFUSE: &str = "CREATE OR REPLACE FUNCTION tidegate_faults_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      IF hashtext(NEW.wallet_id) & 3 = 0 THEN
        RAISE EXCEPTION 'refused by hack/faults' USING ERRCODE = 'check_violation';
      END IF;
      RETURN NEW;
    END $$";
