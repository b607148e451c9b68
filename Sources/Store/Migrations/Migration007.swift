import Postgres

extension Migrations {
    static let migration007 = PostgresMigration(
        number: 7, name: "slugs whose files were removed",
        sql: """
            -- The row stays: releases and builds tell of it. A slug that is built again is there again.
            alter table slugs add column removed_at timestamptz;
            create index slugs_with_file on slugs (created_at) where removed_at is null;
            """)
}
