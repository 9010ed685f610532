#!/usr/bin/env bash
# Delegates a cgroup to the user that agents run as, so that they may keep provers to processors and memory.
#
#   sudo deploy/create-cgroup.sh [NAME [USER]]        default: sealstream, the user who called sudo
#
# Then say `cgroup = "NAME"` under [machine] in agent.toml. Cgroups are gone after a boot: run it again, for example as
# ExecStartPre=+… of the unit.
set -euo pipefail

name=${1:-sealstream}
user=${2:-${SUDO_USER:-$(id -un)}}
root=${CGROUP_ROOT:-/sys/fs/cgroup}

fail() { echo "create-cgroup: $*" >&2; exit 1; }
[[ $name =~ ^[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*$ ]] || fail "\"$name\" is no name of a cgroup"
id "$user" >/dev/null 2>&1 || fail "there is no user $user"
group=$(id -gn "$user")

if [ -f "$root/cgroup.controllers" ]; then
    # Version 2: one hierarchy. Controllers are handed down level by level.
    for controller in cpuset memory; do
        grep -qw "$controller" "$root/cgroup.controllers" || fail "this kernel does not offer $controller"
    done
    path=$root
    IFS=/ read -r -a parts <<<"$name"
    echo "+cpuset +memory" >"$path/cgroup.subtree_control" || fail "run this as root"
    for part in "${parts[@]}"; do
        path=$path/$part
        mkdir -p "$path" || fail "run this as root"
        echo "+cpuset +memory" >"$path/cgroup.subtree_control"
    done
    # The agent itself must be inside: a user may only move processes within what was delegated to it.
    mkdir -p "$path/agent"
    for file in "" /cgroup.procs /cgroup.subtree_control /cgroup.threads /agent /agent/cgroup.procs; do
        chown "$user:$group" "$path$file"
    done
    echo "cgroup $name (version 2) is $user's. Start the agent inside, as root:"
    echo "  echo \$\$ > $path/agent/cgroup.procs && exec sudo -u $user sealer-agent …"
else
    # Version 1: a hierarchy for each controller.
    for controller in cpuset memory; do
        [ -d "$root/$controller" ] || fail "neither version 2 nor the $controller hierarchy is mounted below $root"
        path=$root/$controller
        IFS=/ read -r -a parts <<<"$name"
        for part in "${parts[@]}"; do
            parent=$path
            path=$path/$part
            mkdir -p "$path" || fail "run this as root"
            if [ "$controller" = cpuset ]; then
                # A new one has none of either, and no process could join it.
                for file in cpuset.cpus cpuset.mems; do
                    [ -n "$(cat "$path/$file")" ] || cat "$parent/$file" >"$path/$file"
                done
            fi
        done
        chown "$user:$group" "$path" "$path/cgroup.procs" "$path/tasks"
    done
    echo "cgroup $name (version 1) is $user's"
fi
echo "then, in agent.toml:  [machine]  cgroup = \"$name\""
