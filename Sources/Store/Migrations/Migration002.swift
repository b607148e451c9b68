import Postgres

extension Migrations {
    static let migration002 = PostgresMigration(
        number: 2, name: "deletions with a limit in time",
        sql: "alter table apps add column stop_by timestamptz")
}
