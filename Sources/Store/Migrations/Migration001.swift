import Postgres

extension Migrations {
    // Rows that several transactions change are locked in one order, so that they never wait in a circle:
    // platform, apps, everything of an app, counters (last, right before the commit).
    static let migration001 = PostgresMigration(
        number: 1, name: "the first schema",
        sql: """
            create table platform (
                singleton boolean primary key default true check (singleton),
                platform_id uuid not null default gen_random_uuid(),
                table_id uuid not null default gen_random_uuid(),
                epoch bigint not null default 0,
                key_check bytea
            );
            insert into platform default values;

            -- One row for both, locked by whoever raises them until its commit: events become visible in the order of
            -- their ids, and a routing revision is never seen before the state that it stands for.
            create table counters (
                singleton boolean primary key default true check (singleton),
                routing_revision bigint not null default 0,
                last_event_id bigint not null default 0
            );
            insert into counters default values;

            create table spaces (
                id uuid primary key,
                name text not null unique,
                network_index bigint not null unique,
                created_at timestamptz not null
            );
            insert into spaces (id, name, network_index, created_at) values (gen_random_uuid(), 'default', 0, now());

            create table tokens (
                id uuid primary key,
                role text not null,
                space_id uuid references spaces,
                secret_hash bytea not null unique,
                builtin boolean not null default false,
                created_at timestamptz not null,
                expires_at timestamptz,
                revoked_at timestamptz
            );
            create unique index tokens_one_builtin on tokens (builtin) where builtin;

            create table apps (
                id uuid primary key,
                name text not null unique,
                space_id uuid not null references spaces,
                uid_slot bigint not null unique,
                stack text not null,
                deploy_branch text,
                buildpacks jsonb not null,
                labels jsonb not null,
                no_ports boolean not null,
                current_release bigint,
                last_release bigint not null default 0,
                last_build bigint not null default 0,
                config_version bigint not null default 0,
                generation bigint not null default 0,
                deleting boolean not null default false,
                created_at timestamptz not null,
                updated_at timestamptz not null
            );
            create index apps_by_space on apps (space_id);

            create table config_versions (
                app_id uuid not null references apps,
                version bigint not null,
                sealed bytea not null,
                created_at timestamptz not null,
                primary key (app_id, version)
            );

            create table slugs (
                digest text primary key,
                stack text not null,
                size_bytes bigint not null,
                image_bytes bigint not null,
                process_types jsonb not null,
                created_at timestamptz not null
            );

            create table operations (
                id uuid primary key,
                kind text not null,
                app_id uuid,
                space_id uuid,
                target text not null,
                state text not null,
                automatic boolean not null,
                progress double precision not null,
                error jsonb,
                started_at timestamptz not null,
                finished_at timestamptz
            );
            create index operations_by_app on operations (app_id) where finished_at is null;
            create index operations_by_end on operations (finished_at);

            create table builds (
                id uuid primary key,
                app_id uuid not null references apps,
                number bigint not null,
                state text not null,
                source jsonb not null,
                options jsonb not null,
                stack text not null,
                buildpacks jsonb not null default '[]',
                slug text references slugs,
                release bigint,
                error jsonb,
                ref_moved boolean not null default false,
                cancel_requested boolean not null default false,
                operation_id uuid not null,
                created_by text not null,
                created_at timestamptz not null,
                started_at timestamptz,
                finished_at timestamptz,
                unique (app_id, number)
            );
            create unique index builds_one_active on builds (app_id) where state in ('queued', 'running');
            create index builds_awaiting_ref on builds (created_at) where state = 'succeeded' and not ref_moved;
            create index builds_by_slug on builds (slug);

            create table releases (
                id uuid primary key,
                app_id uuid not null references apps,
                version bigint not null,
                state text not null,
                slug text not null references slugs,
                stack text not null,
                commit_id text,
                process_types jsonb not null,
                config_version bigint not null,
                description text not null,
                created_by text not null,
                created_at timestamptz not null,
                started_at timestamptz,
                output text,
                was_current boolean not null default false,
                operation_id uuid,
                unique (app_id, version)
            );
            create unique index releases_one_current on releases (app_id) where state = 'current';
            create index releases_by_slug on releases (slug);

            create table formation_entries (
                app_id uuid not null references apps,
                type text not null,
                quantity bigint not null,
                memory_bytes bigint not null,
                cpu_millis bigint not null,
                qos text not null,
                primary key (app_id, type)
            );

            create table port_bindings (
                id uuid primary key,
                app_id uuid not null references apps,
                name text not null,
                protocol text not null,
                transport text not null,
                process_type text not null,
                target_port bigint not null check (target_port between 1 and 65535),
                public_port bigint not null check (public_port between 1 and 65535),
                affinity text not null,
                proxy_protocol text not null,
                drain_seconds bigint not null,
                plane text not null,
                state text not null,
                reason text,
                created_at timestamptz not null,
                unique (app_id, name),
                constraint port_bindings_one_listener unique (public_port, transport)
            );

            create table instances (
                id uuid primary key,
                app_id uuid not null references apps,
                type text not null,
                index bigint not null,
                release bigint not null,
                generation bigint not null,
                epoch bigint not null,
                state text not null,
                node text,
                address4 text,
                address6 text,
                pid bigint,
                pid_start_time bigint,
                boot_id text,
                restarts bigint not null,
                exit_code bigint,
                reason text,
                unrouted_revision bigint,
                created_at timestamptz not null,
                since timestamptz not null,
                up_at timestamptz,
                stop_at timestamptz,
                replace_requested boolean not null
            );
            create index instances_by_app on instances (app_id);

            create table slots (
                app_id uuid not null references apps,
                type text not null,
                index bigint not null,
                release bigint not null,
                restarts bigint not null,
                next_start_at timestamptz not null,
                primary key (app_id, type, index)
            );

            create table routers (
                id text primary key,
                table_id text not null,
                boot_id text not null,
                revision bigint not null,
                failed jsonb not null,
                seen_at timestamptz not null
            );

            -- No foreign keys: events outlive what they tell of.
            create table events (
                id bigint primary key,
                time timestamptz not null,
                kind text not null,
                app text,
                space_id uuid,
                space text,
                actor text,
                data jsonb not null
            );
            create index events_by_app on events (app, id);
            """)
}
